-- For wrk: posts the files FOLDER/0, FOLDER/1, … in turn, forever; at the end one line of JSON.
-- wrk … -s post.lua URL -- FOLDER COUNT CONTENT-TYPE
local requests, count, sent = {}, 0, 0

function init(arguments)
  local folder, content_type = arguments[1], arguments[3]
  count = tonumber(arguments[2])
  for index = 0, count - 1 do
    local file = assert(io.open(folder .. "/" .. index, "rb"))
    requests[index] = wrk.format("POST", nil, { ["Content-Type"] = content_type }, file:read("*a"))
    file:close()
  end
end

function request()
  sent = sent + 1
  return requests[sent % count]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
