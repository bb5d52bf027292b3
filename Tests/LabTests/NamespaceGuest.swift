import JSON
import TestSupport

/// A network namespace at a NIC's port, in place of a guest: it needs no time to boot, and has all programs of this machine.
///
/// The NIC's VM is stopped. It goes with the lab.
struct NamespaceGuest: Sendable {
  /// What a DNS query asks for (RFC 1035, 3.2.2; RFC 3596, 2.1).
  enum QueryType: Int {
    case a = 1
    case aaaa = 28
  }

  /// The NIC's, by the API.
  let addresses: [String]
  private let namespace: String
  private let folder: String

  /// Its device is `eth0`, without any address but its link-local one.
  ///
  /// - Parameter nic: as creates ask for it.
  init(_ name: String, on node: String, nic: JSONValue, in lab: Lab) async throws {
    let vm = try await lab.send(
      "POST", "/v1/vms",
      [
        "name": .string(name), "image": "tiny", "memory_mib": 128, "power": "stopped",
        "node_selector": ["name": .string(node)], "nics": [nic],
      ], wait: true)
    guard let nic = vm["nics"]?[0], let id = nic["id"]?.stringValue, let mac = nic["mac"]?.stringValue else {
      throw CommandFailure(command: "POST /v1/vms \(name)", status: 1, output: "\(vm)")
    }
    addresses = nic["addresses"]?.arrayValue?.compactMap(\.stringValue) ?? []
    // `lab down` removes what has the lab's mark.
    namespace = "aloft-\(try await lab.mark())-\(name)"
    folder = lab.folder
    let (inside, device) = (namespace, "g-\(name)")
    try await TestSupport.run("ip", "netns", "add", inside)
    try await lab.shell(
      node,
      """
      ip link add \(device) type veth peer name eth0 address \(mac) netns \(inside) &&
      ip link set \(device) addrgenmode none up
      """)
    try await run("ethtool", "-K", "eth0", "tx", "off")
    for device in ["lo", "eth0"] { try await ip("link", "set", device, "up") }
    let port = try await found("OVN has the port of \(name)", within: .seconds(90)) { () -> String? in
      let text = try await lab.shell(
        "control", "ovn-nbctl --bare --columns=name find Logical_Switch_Port external_ids:aloft-owner=\(id)")
      return text.isEmpty ? nil : text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    try await lab.shell(
      node, "ovs-vsctl add-port br-int \(device) -- set Interface \(device) external_ids:iface-id=\(port)")
    try await eventually("the port of \(name) is up", within: .seconds(90)) {
      try await lab.shell("control", "ovn-nbctl get Logical_Switch_Port \(port) up").contains("true")
    }
  }

  /// What a program prints.
  @discardableResult
  func run(_ arguments: String...) async throws -> String {
    try await TestSupport.run(["ip", "netns", "exec", namespace] + arguments)
  }

  func ip(_ arguments: String...) async throws { try await TestSupport.run(["ip", "-n", namespace] + arguments) }

  /// Whether another answers to ICMP.
  func pings(_ address: String) async -> Bool { (try? await run("ping", "-c", "1", "-W", "1", address)) != nil }

  /// The lease that Debian's client gets for `eth0`, as it writes it down; it sets nothing.
  func leaseByDHCPv6() async throws -> String {
    // Where AppArmor knows the program by its path, it may not write here.
    let own = folder + "/dhclient"
    try await TestSupport.run("cp", "/sbin/dhclient", own)
    let files = ["-sf", "/bin/true", "-lf", own + ".leases", "-pf", own + ".pid", "-cf", "/dev/null"]
    let command = ["timeout", "30", own, "-6"]
    try await TestSupport.run(["ip", "netns", "exec", namespace] + command + ["-1"] + files + ["eth0"])
    try await TestSupport.run(["ip", "netns", "exec", namespace] + command + ["-x"] + files + ["eth0"])
    return try await TestSupport.run("cat", own + ".leases")
  }

  /// What a name server says: the code and how many answers; `none` after five seconds.
  ///
  /// - Parameter isExtended: whether the query has EDNS.
  func asks(_ name: String, type: QueryType, at server: String, isExtended: Bool = false) async throws -> String {
    let script = """
      import socket, sys
      name, kind, server, extended = sys.argv[1:]
      more = bytes([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]) if extended == "true" else b""
      query = bytes([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1 if more else 0])
      query += b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
      query += bytes([0, 0, int(kind), 0, 1]) + more
      family, _, _, _, target = socket.getaddrinfo(server, 53, type=socket.SOCK_DGRAM)[0]
      guest = socket.socket(family, socket.SOCK_DGRAM)
      guest.settimeout(5)
      guest.connect(target)
      guest.send(query)
      try:
        answer = guest.recv(1500)
        print(f"code {answer[3] & 15}, {answer[7]} answers")
      except OSError as failure:
        print(f"none: {failure}")
      """
    return try await run("python3", "-c", script, name, "\(type.rawValue)", server, "\(isExtended)")
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
