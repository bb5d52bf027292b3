import JSON
import LibvirtTestSupport
import TestSupport

/// The networks and guests that tests of packets share: two tenants who have drawn the same.
///
///     red1 (node1) ── network red 10.0.0.0/24, fd00:a::/64 ── red2 (node2)
///                                 │
///                            router red ── external network outside
///                                 │
///                     network green 10.0.1.0/24 ── green1 (node3)
///
///     blue1 (node1) ── network blue 10.0.0.0/24, fd00:a::/64 ── blue2 (node3)
///
/// `red1` and `blue1` have one address, and so have `red2` and `blue2`, these two also of IPv6. Each serves its name on
/// port 80.
struct Topology: Sendable {
  let lab: Lab
  let red1: GuestShell
  let red2: GuestShell
  let green1: GuestShell
  let blue1: GuestShell
  let blue2: GuestShell

  static let first = "10.0.0.11"
  static let second = "10.0.0.12"
  /// Made of a MAC address on one side (RFC 4291, appendix A), chosen on the other.
  static let second6 = "fd00:a::ff:fe00:a12"
  static let green = "10.0.1.11"
  /// What is in the world beyond the external network; it tells each caller its address.
  static let world = "203.0.113.80"

  static func shared() async throws -> Topology { try await task.value }
  private static let task = Task { try await make(Lab.shared()) }

  private static func make(_ lab: Lab) async throws -> Topology {
    try await lab.addProject("blue")
    try await subnet("red", "10.0.0.0/24", of: "red", in: lab)
    try await subnet("red-v6", "fd00:a::/64", of: "red", ["configuration": "slaac"], in: lab)
    try await subnet("green", "10.0.1.0/24", of: "green", in: lab)
    try await subnet("blue", "10.0.0.0/24", of: "blue", project: "blue", in: lab)
    try await subnet("blue-v6", "fd00:a::/64", of: "blue", project: "blue", ["configuration": "dhcp"], in: lab)
    try await lab.send("POST", "/v1/external-networks", ["name": "outside", "physical_network": "external"])
    try await lab.send(
      "POST", "/v1/external-networks/outside/subnets",
      ["name": "outside-v4", "cidr": "198.51.100.0/24", "pools": ["198.51.100.16-198.51.100.99"]])
    try await lab.send(
      "POST", "/v1/external-networks/outside/subnets",
      ["name": "outside-v6", "cidr": "fd00:a10f::/64", "pools": ["fd00:a10f::100-fd00:a10f::1ff"]])
    // There is no translation for IPv6: whose addresses leave the cloud is the operator's to say.
    try await lab.send(
      "PUT", "/v1/external-networks/outside/routed-blocks", ["blocks": [["cidr": "fd00:a::/48", "project": "default"]]])
    try await lab.send("POST", "/v1/routers", ["name": "red", "external_network": "outside"])
    for subnet in ["red", "red-v6", "green"] { try await lab.send("PUT", "/v1/routers/red/interfaces/\(subnet)") }

    // All at once: a guest that boots mostly waits for itself.
    async let red1 = lab.create("red1", on: "node1", nics: [nic("red", first)])
    async let red2 = lab.create("red2", on: "node2", nics: [nic("red", second, mac: "02:00:00:00:0a:12")])
    async let green1 = lab.create("green1", on: "node3", nics: [nic("green", green)])
    async let blue1 = lab.create("blue1", on: "node1", project: "blue", nics: [nic("blue", first)])
    async let blue2 = lab.create("blue2", on: "node3", project: "blue", nics: [nic("blue", second, second6)])
    return try await Topology(lab: lab, red1: red1, red2: red2, green1: green1, blue1: blue1, blue2: blue2)
  }

  /// A subnet, and its network if there is none yet.
  private static func subnet(
    _ name: String, _ block: String, of network: String, project: String = "default", _ more: JSONObject = [:],
    in lab: Lab
  ) async throws {
    if name == network { try await lab.send("POST", "/v1/networks?project=\(project)", ["name": .string(network)]) }
    var body: JSONObject = ["name": .string(name), "network": .string(network), "cidr": .string(block)]
    for (key, value) in more { body[key] = value }
    try await lab.send("POST", "/v1/subnets?project=\(project)", .object(body))
  }

  /// A NIC as creates ask for it.
  static func nic(_ network: String, _ addresses: String..., mac: String? = nil) -> JSONValue {
    var nic: JSONObject = ["network": .string(network), "addresses": .array(addresses.map(JSONValue.string))]
    if let mac { nic["mac"] = .string(mac) }
    return .object(nic)
  }
}

extension GuestShell {
  /// What a server on port 80 answers; throws when there is none.
  func fetch(_ address: String, path: String = "", headers: [String] = []) async throws -> String {
    let options = headers.map { "--header '\($0)'" }.joined(separator: " ")
    // `timeout` because busybox 1.35's `wget -T` crashes.
    return try await run("timeout 5 wget -q -O - \(options) http://\(address)/\(path)")
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What the name server says, whether it knows or not.
  func asks(_ name: String) async throws -> String { try await run("nslookup \(name) 2>&1; true") }

  /// Whether another answers to ICMP.
  func pings(_ address: String) async -> Bool { await succeeds("ping -c 1 -W 2 \(address)") }

  /// Waits until another answers to ICMP, or does so no more.
  func pings(_ address: String, becomes expected: Bool) async throws {
    try await eventually("\(domain) \(expected ? "reaches" : "does not reach") \(address)", within: .seconds(90)) {
      await pings(address) == expected
    }
  }
}
