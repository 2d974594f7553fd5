#!/bin/sh
# Makes testpattern.mp4 from ffmpeg's own generators (ffmpeg 5.1, libx264 164); see README.md.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# 120 pictures of 1/25 s and 225 AAC packets of 1024/48000 s both last 4.8 s, so the loop has no seam in either track.
ffmpeg -v error -f lavfi -i "sine=frequency=440:sample_rate=48000:duration=8" -af volume=0.5 -ac 1 \
    -c:a aac -b:a 48k "$work/tone.mp4"
ffmpeg -v error -f lavfi -i "testsrc2=size=640x360:rate=25:duration=4.8" -pix_fmt yuv420p \
    -c:v libx264 -profile:v baseline -preset veryslow -tune zerolatency -b:v 170k -maxrate 200k -bufsize 200k \
    -g 24 -keyint_min 24 -sc_threshold 0 -flags +bitexact "$work/picture.mp4"
# The tone is cut out of the middle: 440 Hz is a whole number of periods in 4.8 s.
ffmpeg -v error -y -i "$work/picture.mp4" -ss 1.024 -i "$work/tone.mp4" -map 0:v -map 1:a -c copy -frames:a 225 \
    -map_metadata -1 -fflags +bitexact -movflags cmaf+frag_keyframe+empty_moov+default_base_moof testpattern.mp4
