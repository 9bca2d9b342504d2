"""Bytes of AMQP 0-9-1: methods, tables, properties and frames.

Table values are pairs of the type letter and the value, `["I", 5]`, so that a transcript shows the type that was on
the wire. A table is a dictionary of such pairs, an array a list of them; both survive a trip through JSON.
"""

import struct

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
# What RabbitMQ and leveret propose; the client accepts it as it is.
FRAME_MAX = 131072

# name, class, method, fields. o: u8, h: u16, l: u32, q: u64, s: short string, S: long string, t: table, b: bit.
_LAYOUT = """
connection.start 10 10 o:major o:minor t:server_properties S:mechanisms S:locales
connection.start-ok 10 11 t:client_properties s:mechanism S:response s:locale
connection.tune 10 30 h:channel_max l:frame_max h:heartbeat
connection.tune-ok 10 31 h:channel_max l:frame_max h:heartbeat
connection.open 10 40 s:virtual_host s:reserved1 b:reserved2
connection.open-ok 10 41 s:reserved1
connection.close 10 50 h:reply_code s:reply_text h:class_id h:method_id
connection.close-ok 10 51
connection.blocked 10 60 s:reason
connection.unblocked 10 61
channel.open 20 10 s:reserved1
channel.open-ok 20 11 S:reserved1
channel.flow 20 20 b:active
channel.flow-ok 20 21 b:active
channel.close 20 40 h:reply_code s:reply_text h:class_id h:method_id
channel.close-ok 20 41
access.request 30 10 s:realm b:exclusive b:passive b:active b:write b:read
access.request-ok 30 11 h:ticket
exchange.declare 40 10 h:ticket s:exchange s:type b:passive b:durable b:auto_delete b:internal b:no_wait t:arguments
exchange.declare-ok 40 11
exchange.delete 40 20 h:ticket s:exchange b:if_unused b:no_wait
exchange.delete-ok 40 21
exchange.bind 40 30 h:ticket s:destination s:source s:routing_key b:no_wait t:arguments
exchange.bind-ok 40 31
exchange.unbind 40 40 h:ticket s:destination s:source s:routing_key b:no_wait t:arguments
exchange.unbind-ok 40 51
queue.declare 50 10 h:ticket s:queue b:passive b:durable b:exclusive b:auto_delete b:no_wait t:arguments
queue.declare-ok 50 11 s:queue l:message_count l:consumer_count
queue.bind 50 20 h:ticket s:queue s:exchange s:routing_key b:no_wait t:arguments
queue.bind-ok 50 21
queue.purge 50 30 h:ticket s:queue b:no_wait
queue.purge-ok 50 31 l:message_count
queue.delete 50 40 h:ticket s:queue b:if_unused b:if_empty b:no_wait
queue.delete-ok 50 41 l:message_count
queue.unbind 50 50 h:ticket s:queue s:exchange s:routing_key t:arguments
queue.unbind-ok 50 51
basic.qos 60 10 l:prefetch_size h:prefetch_count b:global
basic.qos-ok 60 11
basic.consume 60 20 h:ticket s:queue s:consumer_tag b:no_local b:no_ack b:exclusive b:no_wait t:arguments
basic.consume-ok 60 21 s:consumer_tag
basic.cancel 60 30 s:consumer_tag b:no_wait
basic.cancel-ok 60 31 s:consumer_tag
basic.publish 60 40 h:ticket s:exchange s:routing_key b:mandatory b:immediate
basic.return 60 50 h:reply_code s:reply_text s:exchange s:routing_key
basic.deliver 60 60 s:consumer_tag q:delivery_tag b:redelivered s:exchange s:routing_key
basic.get 60 70 h:ticket s:queue b:no_ack
basic.get-ok 60 71 q:delivery_tag b:redelivered s:exchange s:routing_key l:message_count
basic.get-empty 60 72 s:reserved1
basic.ack 60 80 q:delivery_tag b:multiple
basic.reject 60 90 q:delivery_tag b:requeue
basic.recover-async 60 100 b:requeue
basic.recover 60 110 b:requeue
basic.recover-ok 60 111
basic.nack 60 120 q:delivery_tag b:multiple b:requeue
confirm.select 85 10 b:no_wait
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
"""

IDS, FIELDS = {}, {}
for _line in _LAYOUT.split("\n"):
    if _line:
        _name, _class, _method, *_fields = _line.split()
        IDS[_name] = (int(_class), int(_method))
        FIELDS[_name] = [tuple(field.split(":")) for field in _fields]
NAMES = {ids: name for name, ids in IDS.items()}
# Methods that are followed by a content header and body.
WITH_CONTENT = {"basic.return", "basic.deliver", "basic.get-ok"}

# Most significant flag first, as 4.2.6.1 orders them.
PROPERTIES = [
    ("content_type", "s"), ("content_encoding", "s"), ("headers", "t"), ("delivery_mode", "o"), ("priority", "o"),
    ("correlation_id", "s"), ("reply_to", "s"), ("expiration", "s"), ("message_id", "s"), ("timestamp", "q"),
    ("type", "s"), ("user_id", "s"), ("app_id", "s"), ("cluster_id", "s"),
]

_NUMBERS = {"o": ">B", "h": ">H", "l": ">I", "q": ">Q"}
_SCALARS = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q", "f": ">f",
            "d": ">d", "T": ">Q"}


def encode_value(pair):
    letter, value = pair
    head = letter.encode()
    if letter in _SCALARS:
        return head + struct.pack(_SCALARS[letter], value)
    if letter == "t":
        return head + bytes([bool(value)])
    if letter in "Sx":
        data = value.encode()
        return head + struct.pack(">I", len(data)) + data
    if letter == "D":
        return head + struct.pack(">BI", *value)
    if letter == "F":
        return head + encode_table(value)
    if letter == "A":
        data = b"".join(map(encode_value, value))
        return head + struct.pack(">I", len(data)) + data
    if letter == "V":
        return head
    raise ValueError(f"no such type letter: {letter}")


def encode_table(table):
    data = b"".join(_short(name) + encode_value(pair) for name, pair in table.items())
    return struct.pack(">I", len(data)) + data


def _short(text):
    data = text.encode()
    return bytes([len(data)]) + data


class Reader:
    """Takes values off the front of `data`."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, layout):
        size = struct.calcsize(layout)
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += size
        return value

    def take(self, size):
        data = self.data[self.at:self.at + size]
        if len(data) < size:
            raise ValueError("a field reaches beyond its frame")
        self.at += size
        return data

    def field(self, kind):
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == "s":
            return self.take(self.number(">B")).decode(errors="replace")
        if kind == "S":
            return self.take(self.number(">I")).decode(errors="replace")
        return self.table()

    def table(self):
        end = self.number(">I") + self.at
        table = {}
        while self.at < end:
            name = self.field("s")
            table[name] = self.value()
        return table

    def value(self):
        letter = chr(self.number(">B"))
        if letter in _SCALARS:
            return [letter, self.number(_SCALARS[letter])]
        if letter == "t":
            return [letter, self.number(">B") != 0]
        if letter in "Sx":
            return [letter, self.field("S")]
        if letter == "D":
            return [letter, [self.number(">B"), self.number(">I")]]
        if letter == "F":
            return [letter, self.table()]
        if letter == "A":
            end = self.number(">I") + self.at
            items = []
            while self.at < end:
                items.append(self.value())
            return [letter, items]
        if letter == "V":
            return [letter, None]
        raise ValueError(f"no such type letter: {letter!r}")


def encode_fields(fields, values):
    """Encodes `values` in the order of `fields`; what is not given is zero, false or empty."""
    out, bits, bit_count = [], 0, 0
    for kind, name in fields:
        if kind == "b":
            bits |= bool(values.get(name)) << bit_count
            bit_count += 1
            continue
        if bit_count:
            out.append(bytes([bits]))
            bits = bit_count = 0
        if kind in _NUMBERS:
            out.append(struct.pack(_NUMBERS[kind], values.get(name, 0)))
        elif kind == "s":
            out.append(_short(values.get(name, "")))
        elif kind == "S":
            data = values.get(name, "").encode()
            out.append(struct.pack(">I", len(data)) + data)
        else:
            out.append(encode_table(values.get(name, {})))
    if bit_count:
        out.append(bytes([bits]))
    return b"".join(out)


def decode_method(payload):
    """Returns name and fields; an unknown method keeps its numbers as its name."""
    reader = Reader(payload)
    ids = reader.number(">H"), reader.number(">H")
    name = NAMES.get(ids)
    if name is None:
        return "%d.%d" % ids, {}
    values, bits, bit_count = {}, 0, 8
    for kind, field in FIELDS[name]:
        if kind == "b":
            if bit_count == 8:
                bits, bit_count = reader.number(">B"), 0
            values[field] = bool(bits >> bit_count & 1)
            bit_count += 1
        else:
            bit_count = 8
            values[field] = reader.field(kind)
    return name, values


def frame(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def method(channel, name, **values):
    return frame(METHOD, channel, struct.pack(">HH", *IDS[name]) + encode_fields(FIELDS[name], values))


def header(channel, body_size, properties, class_id=60):
    flags, given = 0, []
    for place, (name, kind) in enumerate(PROPERTIES):
        if name in properties:
            flags |= 1 << (15 - place)
            given.append((kind, name))
    payload = struct.pack(">HHQH", class_id, 0, body_size, flags) + encode_fields(given, properties)
    return frame(HEADER, channel, payload)


def decode_header(payload):
    reader = Reader(payload)
    reader.take(4)
    body_size, flags = reader.number(">Q"), reader.number(">H")
    return body_size, {name: reader.field(kind) for place, (name, kind) in enumerate(PROPERTIES)
                       if flags >> (15 - place) & 1}


def content(channel, properties, body, frame_max=FRAME_MAX):
    """A header and as many body frames as the frame size asks for."""
    step = frame_max - 8
    return header(channel, len(body), properties) + b"".join(
        frame(BODY, channel, body[at:at + step]) for at in range(0, len(body), step))
