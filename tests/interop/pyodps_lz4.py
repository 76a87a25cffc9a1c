"""LZ4 frames of the tunnel with the lz4 package. PyODPS's own LZ4 streams do not work with that package, so bodies are compressed, sent,
fetched and decompressed here, within PyODPS's sessions and signatures.
"""

import io
import struct

import lz4.frame
import pyarrow as pa
from odps.tunnel.checksum import Checksum
from odps.tunnel.io.reader import TunnelRecordReader
from odps.tunnel.io.stream import SimpleInputStream
from odps.tunnel.io.types import odps_schema_to_arrow_schema
from odps.tunnel.io.writer import BaseArrowWriter, BaseRecordWriter

RECORDS, ARROW = "x-lz4-frame", "x-odps-lz4-frame"


def record_body(schema, records):
    out = io.BytesIO()
    with BaseRecordWriter(schema, out) as writer:
        for record in records:
            writer.write(record)
    return out.getvalue()


def arrow_body(schema, table):
    out = io.BytesIO()
    with BaseArrowWriter(schema, out) as writer:
        writer.write(table)
    return out.getvalue()


def compress(body, linked):
    """A frame as different writers create it: with linked blocks or independent ones, with checksums or without."""
    return lz4.frame.compress(
        body, block_linked=linked, content_checksum=linked, block_checksum=not linked, store_size=not linked,
        block_size=lz4.frame.BLOCKSIZE_MAX64KB,
    )


def put(session, block, body, encoding):
    params = session.get_common_params(uploadid=session.id, blockid=block)
    if encoding == ARROW:
        params["arrow"] = ""
    headers = session.get_common_headers(chunked=True)
    headers["Content-Encoding"] = encoding
    session._client.put(session._table.table_resource(), data=iter([body]), params=params, headers=headers)


def get(session, encoding):
    """The decompressed body with all rows; the server must have used the requested encoding."""
    params = session.get_common_params(downloadid=session.id, rowrange=f"(0,{session.count})")
    headers = session.get_common_headers(content_length=0)
    headers["Accept-Encoding"] = encoding
    actions = ["data", "arrow"] if encoding == ARROW else ["data"]
    response = session._client.get(
        session._table.table_resource(), stream=True, actions=actions, params=params, headers=headers
    )
    session.check_tunnel_response(response)
    assert response.headers["Content-Encoding"] == encoding, response.headers
    return lz4.frame.decompress(response.raw.read(decode_content=False))


def crc(data):
    checksum = Checksum()
    checksum.update(data)
    return checksum.getvalue() & 0xFFFFFFFF


def unframe(body):
    """Removes the CRC framing and verifies every CRC."""
    (size,) = struct.unpack_from(">I", body)
    at, payload = 4, b""
    while len(body) - at >= size + 4:
        chunk = body[at:at + size]
        assert struct.unpack_from(">I", body, at + size) == (crc(chunk),), "a chunk's CRC"
        payload += chunk
        at += size + 4
    payload += body[at:-4]
    assert struct.unpack(">I", body[-4:]) == (crc(payload),), "the stream's CRC"
    return payload


def frame(payload, size=65536):
    body = struct.pack(">I", size)
    for at in range(0, len(payload), size):
        chunk = payload[at:at + size]
        body += chunk + (struct.pack(">I", crc(chunk)) if len(chunk) == size else b"")
    return body + struct.pack(">I", crc(payload))


def arrow_rows(arrow_schema, payload):
    """The record batches of messages without a schema, read with the table's."""
    source, batches = pa.BufferReader(payload), []
    while source.tell() < source.size():
        batches.append(pa.ipc.read_record_batch(pa.ipc.read_message(source), arrow_schema))
    return pa.Table.from_batches(batches, arrow_schema)


def upload(tunnel, table, records, arrow):
    """Uploads both kinds of blocks, each in both kinds of frames."""
    session = tunnel.create_upload_session(table, overwrite=True)
    for block, linked in enumerate((True, False)):
        put(session, block, compress(record_body(session.schema, records), linked), RECORDS)
        put(session, block + 2, compress(arrow_body(session.schema, arrow), linked), ARROW)
    session.commit([0, 1, 2, 3])


def download(tunnel, table):
    """Downloads all rows, once as records and once as Arrow."""
    session = tunnel.create_download_session(table)
    streams = iter([SimpleInputStream(io.BytesIO(get(session, RECORDS)))])
    records = TunnelRecordReader(session.schema, lambda *_args, **_kw: next(streams, None))
    arrow_schema = odps_schema_to_arrow_schema(session.schema)
    return [record.values for record in records], arrow_rows(arrow_schema, unframe(get(session, ARROW)))


def json_there_and_back(tunnel, table, texts):
    """JSON by Arrow, for which PyODPS has no type: it is a text column, as in MaxCompute's other clients."""
    session = tunnel.create_upload_session(table, overwrite=True)
    batch = pa.record_batch([pa.array(texts, pa.string())], names=["c"])
    put(session, 0, compress(frame(batch.serialize().to_pybytes()), True), ARROW)
    session.commit([0])
    down = tunnel.create_download_session(table)
    return arrow_rows(batch.schema, unframe(get(down, ARROW))).column(0).to_pylist()
