-- wrk -s get.lua URL -- TOKEN FILE: GETs the paths in FILE, one after another.
local requests, index = {}, 0

function init(arguments)
  local headers = { ["Authorization"] = "Bearer " .. arguments[1] }
  for path in io.lines(arguments[2]) do requests[#requests + 1] = wrk.format("GET", path, headers) end
end

function request()
  index = index % #requests + 1
  return requests[index]
end
