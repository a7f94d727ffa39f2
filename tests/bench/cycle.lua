-- wrk: sends the lines of a file as bodies in turn. Arguments: FILE [MEAN_PAUSE_MS].
-- With a mean pause every connection waits a random time before each request.
local bodies, at, pause_ms = {}, 0, nil

function init(args)
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = wrk.format("POST", nil, nil, line)
  end
  pause_ms = tonumber(args[2])
  if pause_ms then
    math.randomseed(1)
    delay = function() return math.floor(-pause_ms * math.log(1 - math.random()) + 0.5) end
  end
end

function request()
  at = at % #bodies + 1
  return bodies[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.4f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
