-- wrk -s create.lua URL -- TOKEN PREFIX: creates VMs, each with a name and an idempotency key of its own.
local headers, prefix, count = nil, nil, 0

function init(arguments)
  headers = { ["Authorization"] = "Bearer " .. arguments[1], ["Content-Type"] = "application/json" }
  prefix = arguments[2]
end

function request()
  count = count + 1
  local name = prefix .. "-" .. count
  headers["Idempotency-Key"] = "key-" .. name
  return wrk.format("POST", "/v1/vms", headers,
    '{"name":"' .. name .. '","image":"bench","vcpus":1,"memory_mib":512,"disk_gib":1}')
end
