package main

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return text
}

func TestOriginServesWhatItsDigestsSay(t *testing.T) {
	o, err := newOrigin(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	l, err := o.layer(v1.MediaTypeImageLayerGzip, func(w io.Writer) error { return files(w, 3, 250) })
	if err != nil {
		t.Fatal(err)
	}
	if err := o.image("tag", l); err != nil {
		t.Fatal(err)
	}
	manifest := get(t, "http://"+o.host+"/v2/bench/manifests/tag")
	if digest.FromBytes(manifest) != o.tags["tag"].Digest {
		t.Errorf("the tag has another manifest: %s", manifest)
	}
	packed := get(t, "http://"+o.host+"/v2/bench/blobs/"+string(l.Digest))
	if digest.FromBytes(packed) != l.Digest || int64(len(packed)) != l.Size {
		t.Errorf("the blob is %d bytes, not what %v says", len(packed), l.Descriptor)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || digest.FromBytes(plain) != l.diffID {
		t.Errorf("the diff id is wrong: %v", err)
	}
}

func TestPeakIsForgotten(t *testing.T) {
	if sum := sumOfLarge(); sum != 64<<20 {
		t.Fatal(sum)
	}
	shrink()
	b := &bench{stage: &stage{Dir: t.TempDir()}}
	b, err := newBench(b.stage)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := b.exec("/bin/true"); err != nil {
		t.Fatal(err)
	}
	if b.peak == 0 || b.peak > 48<<10 {
		t.Errorf("true held %d KiB: those of this process were counted", b.peak)
	}
}

// sumOfLarge has 64 MiB in memory meanwhile.
func sumOfLarge() (sum int) {
	large := bytes.Repeat([]byte{1}, 64<<20)
	for _, n := range large {
		sum += int(n)
	}
	return sum
}
