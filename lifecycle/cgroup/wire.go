package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The D-Bus wire format, as far as systemd's manager needs it: values are
// aligned to their size from the start of the message, a variant carries its
// signature, an array its length in bytes.

// errWire is a message that is not D-Bus.
var errWire = errors.New("malformed D-Bus message")

// maxMessage bounds what is read; the protocol allows 128 MiB.
const maxMessage = 1 << 20

// encoder appends values.
type encoder struct{ buf []byte }

func (e *encoder) align(n int) {
	for len(e.buf)%n != 0 {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) uint32(n uint32) {
	e.align(4)
	e.buf = binary.LittleEndian.AppendUint32(e.buf, n)
}

func (e *encoder) uint64(n uint64) {
	e.align(8)
	e.buf = binary.LittleEndian.AppendUint64(e.buf, n)
}

func (e *encoder) string(s string) {
	e.uint32(uint32(len(s)))
	e.buf = append(append(e.buf, s...), 0)
}

func (e *encoder) signature(s string) {
	e.buf = append(append(append(e.buf, byte(len(s))), s...), 0)
}

// array appends what fill appends, of elements aligned to n, and its length.
func (e *encoder) array(n int, fill func()) {
	e.uint32(0)
	at := len(e.buf)
	e.align(n)
	from := len(e.buf)
	fill()
	binary.LittleEndian.PutUint32(e.buf[at-4:], uint32(len(e.buf)-from))
}

// objectPath is a string of another type.
type objectPath string

// variant appends a value with its signature, by its Go type.
func (e *encoder) variant(v any) {
	switch v := v.(type) {
	case string:
		e.signature("s")
		e.string(v)
	case objectPath:
		e.signature("o")
		e.string(string(v))
	case bool:
		e.signature("b")
		e.uint32(map[bool]uint32{true: 1}[v])
	case byte:
		e.signature("y")
		e.buf = append(e.buf, v)
	case int32:
		e.signature("i")
		e.uint32(uint32(v))
	case uint32:
		e.signature("u")
		e.uint32(v)
	case int64:
		e.signature("x")
		e.uint64(uint64(v))
	case uint64:
		e.signature("t")
		e.uint64(v)
	case float64:
		e.signature("d")
		e.uint64(math.Float64bits(v))
	case []string:
		e.signature("as")
		e.array(4, func() {
			for _, s := range v {
				e.string(s)
			}
		})
	case []uint32:
		e.signature("au")
		e.array(4, func() {
			for _, n := range v {
				e.uint32(n)
			}
		})
	case []byte:
		e.signature("ay")
		e.array(1, func() { e.buf = append(e.buf, v...) })
	default:
		panic(fmt.Sprintf("no D-Bus type for %T", v)) // all callers are ours
	}
}

// property is a unit's setting.
type property struct {
	name  string
	value any
}

// properties appends an array of (sv).
func (e *encoder) properties(list []property) {
	e.array(8, func() {
		for _, p := range list {
			e.align(8)
			e.string(p.name)
			e.variant(p.value)
		}
	})
}

// Kinds of messages.
const (
	methodCall   = 1
	methodReturn = 2
	errorReply   = 3
	signalKind   = 4
)

// Fields of a header.
const (
	fieldPath = 1 + iota
	fieldInterface
	fieldMember
	fieldError
	fieldReply
	fieldDestination
	fieldSender
	fieldSignature
)

// message is a message that was received, its body not yet decoded.
type message struct {
	kind   byte
	serial uint32 // of the call that it answers
	fields map[byte]string
	body   []byte
	order  binary.ByteOrder
}

// encodeCall is a whole method call. destination is "" on a connection that
// has no bus in it.
func encodeCall(serial uint32, destination, object, iface, member, signature string, body []byte) []byte {
	e := &encoder{buf: []byte{'l', methodCall, 0, 1}}
	e.uint32(uint32(len(body)))
	e.uint32(serial)
	e.array(8, func() {
		field := func(code byte, value any) {
			e.align(8)
			e.buf = append(e.buf, code)
			e.variant(value)
		}
		field(fieldPath, objectPath(object))
		field(fieldInterface, iface)
		field(fieldMember, member)
		if destination != "" {
			field(fieldDestination, destination)
		}
		if signature != "" {
			e.align(8)
			e.buf = append(e.buf, fieldSignature)
			e.signature("g")
			e.signature(signature)
		}
	})
	e.align(8)
	return append(e.buf, body...)
}

// decoder takes values off. After the first error it returns zeros.
type decoder struct {
	buf   []byte
	at    int
	order binary.ByteOrder
	bad   bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.buf)-d.at {
		d.bad = true
		return make([]byte, min(max(n, 0), 8))
	}
	d.at += n
	return d.buf[d.at-n : d.at]
}

func (d *decoder) align(n int) {
	if rest := d.at % n; rest != 0 {
		d.take(n - rest)
	}
}

func (d *decoder) uint32() uint32 {
	d.align(4)
	return d.order.Uint32(d.take(4))
}

func (d *decoder) string() string {
	n := int(d.uint32())
	s := d.take(n)
	d.take(1)
	if d.bad {
		return ""
	}
	return string(s)
}

func (d *decoder) signature() string {
	n := int(d.take(1)[0])
	s := d.take(n)
	d.take(1)
	if d.bad {
		return ""
	}
	return string(s)
}

// headerSize tells how long the message is that begins with 16 bytes.
func headerSize(head []byte) (fields, total int, order binary.ByteOrder, err error) {
	switch head[0] {
	case 'l':
		order = binary.LittleEndian
	case 'B':
		order = binary.BigEndian
	default:
		return 0, 0, nil, errWire
	}
	body, fieldBytes := order.Uint32(head[4:]), order.Uint32(head[12:])
	if body > maxMessage || fieldBytes > maxMessage {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes", errWire, uint64(body)+uint64(fieldBytes))
	}
	fields = int(fieldBytes)
	return fields, 16 + (fields+7)/8*8 + int(body), order, nil
}

// decode reads a whole message.
func decode(raw []byte) (*message, error) {
	if len(raw) < 16 {
		return nil, errWire
	}
	fields, total, order, err := headerSize(raw)
	if err != nil || total != len(raw) {
		return nil, errors.Join(errWire, err)
	}
	m := &message{kind: raw[1], fields: map[byte]string{}, order: order}
	d := &decoder{buf: raw[:16+fields], at: 16, order: order}
	for d.at < len(d.buf) && !d.bad {
		d.align(8)
		code := d.take(1)[0]
		switch d.signature() {
		case "s", "o":
			m.fields[code] = d.string()
		case "g":
			m.fields[code] = d.signature()
		case "u":
			n := d.uint32()
			if code == fieldReply {
				m.serial = n
			}
		default:
			d.bad = true
		}
	}
	if d.bad {
		return nil, errWire
	}
	m.body = raw[16+(fields+7)/8*8:]
	return m, nil
}

// decoder is for the message's body.
func (m *message) decoder() *decoder { return &decoder{buf: m.body, order: m.order} }
