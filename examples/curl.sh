#!/bin/sh
# Every way to send images, with curl: sh examples/curl.sh [PHOTO] [URL].
set -eu
photo=${1:-service/http/page/sample.png}
url=${2:-http://127.0.0.1:8000}

echo "The image as the body, three labels:"
curl --fail-with-body --silent --show-error --data-binary "@$photo" "$url/classify?top_k=3"

echo; echo "PUT, as curl -T sends a file:"
curl --fail-with-body --silent --show-error -T "$photo" "$url/classify"

echo; echo "A form with several images:"
curl --fail-with-body --silent --show-error -F "image=@$photo" -F "image=@$photo" -F top_k=1 "$url/classify"

echo; echo "Base64 in JSON:"
{ printf '{"image": "'; base64 < "$photo" | tr -d '\n'; printf '"}'; } |
	curl --fail-with-body --silent --show-error --json @- "$url/classify"

echo; echo "What a refusal looks like:"
echo "not an image" | curl --silent --show-error --data-binary @- "$url/classify"
echo
