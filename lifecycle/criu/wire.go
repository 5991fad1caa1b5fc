package criu

import (
	"encoding/binary"
	"errors"
)

// message is a message of CRIU's interface in the encoding of protocol buffers:
// fields of a number, a type and a value. Written by hand, because the interface
// needs two of its types and a library costs every start of the program.
type message []byte

const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

func (m *message) varint(field int, value uint64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|wireVarint)
	*m = binary.AppendUvarint(*m, value)
}

// number adds a field unless it is 0, which is every default.
func (m *message) number(field int, value int) {
	if value != 0 {
		m.varint(field, uint64(value))
	}
}

func (m *message) flag(field int, value bool) {
	if value {
		m.varint(field, 1)
	}
}

func (m *message) text(field int, value string) {
	if value != "" {
		m.bytes(field, []byte(value))
	}
}

func (m *message) bytes(field int, value []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|wireBytes)
	*m = binary.AppendUvarint(*m, uint64(len(value)))
	*m = append(*m, value...)
}

var errShort = errors.New("a message of CRIU's ends too soon")

// fields calls a function for each field, with its number or its bytes.
func fields(text []byte, each func(field int, number uint64, data []byte) error) error {
	for len(text) > 0 {
		key, n := binary.Uvarint(text)
		if n <= 0 {
			return errShort
		}
		text = text[n:]
		number, data, rest, err := value(int(key&7), text)
		if err != nil {
			return err
		}
		if err := each(int(key>>3), number, data); err != nil {
			return err
		}
		text = rest
	}
	return nil
}

func value(kind int, text []byte) (number uint64, data, rest []byte, err error) {
	switch kind {
	case wireVarint:
		number, n := binary.Uvarint(text)
		if n <= 0 {
			return 0, nil, nil, errShort
		}
		return number, nil, text[n:], nil
	case wireBytes:
		length, n := binary.Uvarint(text)
		if n <= 0 || length > uint64(len(text)-n) {
			return 0, nil, nil, errShort
		}
		end := n + int(length)
		return 0, text[n:end], text[end:], nil
	case wireFixed32, wireFixed64:
		size := 4
		if kind == wireFixed64 {
			size = 8
		}
		if len(text) < size {
			return 0, nil, nil, errShort
		}
		return 0, nil, text[size:], nil
	}
	return 0, nil, nil, errors.New("a message of CRIU's has a field of an unknown type")
}
