package image

import "context"

// Document returns what a reference stands for, from where it points to: a
// manifest or an index, as it is.
func Document(ctx context.Context, ref Reference, connect ConnectFunc) ([]byte, error) {
	ref, err := ref.Absolute()
	if err != nil {
		return nil, explain("read manifest", ref, err)
	}
	src, err := open(ref, connect)
	if err != nil {
		return nil, explain("read manifest", ref, err)
	}
	defer src.Close()
	mediaType, text, err := src.Root(ctx)
	if err == nil {
		_, err = parseDocument(text, mediaType)
	}
	if err != nil {
		return nil, explain("read manifest", ref, err)
	}
	return text, nil
}
