"""A publisher and a viewer made from the PyPI package moq-rs: somebody else's draft-18 client for interop.rs.

    moq_client.py publish URL PATH              fragmented MP4 from standard input, published as it comes
    moq_client.py watch URL PATH FILE PICTURES  so many pictures of the first video track, as an H.264 byte stream

What was received goes to standard output as one line of JSON.
"""

import asyncio
import json
import sys

import moq

START_CODE = b"\x00\x00\x00\x01"
CHUNK_BYTES = 16 * 1024
# Pictures are waited for as a whole: a stream that stops is an error, not a wait for ever.
DEADLINE_SECONDS = 30


async def publish(url, path):
    async with moq.connect(url, tls_verify=False, websocket_enabled=False) as client:
        broadcast = client.create_broadcast(path)
        container = broadcast.publish_container_stream(moq.ContainerFormat.FMP4)
        broadcast.announce()
        loop = asyncio.get_running_loop()
        while chunk := await loop.run_in_executor(None, sys.stdin.buffer.read1, CHUNK_BYTES):
            container.write(chunk)
        container.finish()


async def watch(url, path, file, pictures):
    async with moq.connect(url, tls_verify=False, websocket_enabled=False) as client:
        broadcast = await client.announced_broadcast(path)
        catalog = await broadcast.catalog()
        name, video = next(iter(catalog.video.items()))
        received = keyframes = 0
        with open(file, "wb") as output:
            output.write(parameter_sets(video.description))
            async for frame in await broadcast.subscribe_media(name, video):
                output.write(annex_b(frame.payload) if video.description else frame.payload)
                received += 1
                keyframes += frame.keyframe
                if received == pictures:
                    break
    print(json.dumps({"codec": video.codec, "pictures": received, "keyframes": keyframes, "audio": len(catalog.audio)}))


def annex_b(sample):
    """Four bytes of length before every NAL unit become a start code."""
    units = []
    while sample:
        length = int.from_bytes(sample[:4], "big")
        units += [START_CODE, sample[4 : 4 + length]]
        sample = sample[4 + length :]
    return b"".join(units)


def parameter_sets(avcc):
    """The parameter sets of an avcC box (ISO 14496-15 5.3.3.1); none where they are in the stream."""
    if not avcc:
        return b""
    units, at = [], 5
    for mask in (0x1F, 0xFF):
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            length = int.from_bytes(avcc[at : at + 2], "big")
            units += [START_CODE, avcc[at + 2 : at + 2 + length]]
            at += 2 + length
    return b"".join(units)


def main():
    verb, url, path, *more = sys.argv[1:]
    if verb == "publish":
        asyncio.run(publish(url, path))
    else:
        asyncio.run(asyncio.wait_for(watch(url, path, more[0], int(more[1])), DEADLINE_SECONDS))


main()
