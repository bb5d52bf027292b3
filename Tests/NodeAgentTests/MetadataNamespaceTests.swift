import AloftModel
import Foundation
import Glibc
import HTTPTypes
import TestSupport
import Testing

@testable import NodeAgent

/// In place of OVN: the cable's outer end is put into a namespace of a guest's own.
private final class Guest {
  let name = "aloft-test-" + UUID().uuidString.lowercased().suffix(12)

  func connect(_ network: MetadataNetwork, addresses: [String]) async throws {
    try await run("ip", "netns", "add", name)
    try await run("ip", "link", "set", network.device, "netns", name)
    try await run("ip", "-n", name, "link", "set", "dev", network.device, "address", "02:00:00:00:00:01")
    for address in addresses {
      let nodad = address.contains(":") ? ["nodad"] : []
      try await run(["ip", "-n", name, "address", "add", address, "dev", network.device] + nodad)
    }
    try await run("ip", "-n", name, "link", "set", "dev", network.device, "up")
    try await run("ip", "-n", name, "route", "add", "169.254.169.254", "via", "10.0.0.2", "dev", network.device)
  }

  /// What curl gets; the address stands for the service's.
  func curl(_ arguments: String...) async throws -> String {
    try await run(["ip", "netns", "exec", name, "curl", "-s", "-g", "--max-time", "20"] + arguments)
  }

  /// What comes back for a DNS query: code, number of answers, and whether it is authoritative; `none` after two seconds.
  ///
  /// - Parameter address: with the device for a link-local one.
  func ask(_ name: String, at address: String) async throws -> String {
    let script = """
      import socket, sys
      name, address = sys.argv[1:]
      query = b"\\xab\\xcd\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0"
      query += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\0\\0\\x1c\\0\\1"
      kind, _, _, _, target = socket.getaddrinfo(address, 53, type=socket.SOCK_DGRAM)[0]
      guest = socket.socket(kind, socket.SOCK_DGRAM)
      guest.settimeout(2)
      # Connected: the answer has to come from where the query went to.
      guest.connect(target)
      guest.send(b"hostile")
      guest.send(query)
      try:
        answer = guest.recv(1500)
        print(answer[3] & 15, answer[7], answer[2] >> 2 & 1)
      except TimeoutError:
        print("none")
      """
    return try await run("ip", "netns", "exec", self.name, "python3", "-c", script, name, address)
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  func remove() async { _ = try? await run("ip", "netns", "delete", name) }
}

private let isRoot = getuid() == 0 && access("/usr/sbin/ip", X_OK) == 0

@Suite("Metadata in a namespace", .serialized, .enabled(if: isRoot, "needs root"))
struct MetadataNamespaceTests {
  let node = NodeID(UUID())

  /// A network that no other test has.
  func document() -> Assignment {
    let network = NetworkID(UUID())
    var document = Assignment.sample()
    document.nics = [
      Assignment.NIC(
        id: NICID(UUID()), network: network, mac: "02:00:00:00:00:01", addresses: ["10.0.0.11/24"])
    ]
    document.networks = [
      Assignment.Network(
        id: network, name: "blue", mtu: 1400, dnsDomain: "blue.internal", metadataAddresses: ["10.0.0.2/24"])
    ]
    return document
  }

  @Test(
    "a guest finds itself at 169.254.169.254 and fe80::a9fe:a9fe, over a restart of the agent, until its network goes")
  func service() async throws {
    let document = document()
    let network = try #require(MetadataNetwork.all(of: [document]).first)
    let namespace = network.namespace(on: node)
    var networks = MetadataNetworks(node: node, clock: SystemClock(), logger: quietLogger)
    await networks.serve([document], number: 1)
    #expect(
      await networks.ports
        == MetadataPorts(wanted: [network.device: network.id.metadataPort], ready: [network.device]))
    #expect(await NetworkNamespace.exists(namespace))
    let guest = Guest()
    do {
      try await guest.connect(network, addresses: ["10.0.0.11/24", "10.0.0.12/24", "fe80::ff:fe00:1/64"])
      let put = ["-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60"]
      let base = "http://169.254.169.254"
      let token = try await guest.curl(put[0], put[1], put[2], put[3], base + "/latest/api/token")
      let field = "X-aws-ec2-metadata-token: \(token)"
      #expect(
        try await guest.curl("-H", field, base + "/latest/meta-data/instance-id") == document.vm.description)
      #expect(try await guest.curl("-o", "/dev/null", "-w", "%{http_code}", base + "/latest/meta-data/") == "401")
      #expect(
        try await guest.curl(
          "--interface", "10.0.0.12", "-o", "/dev/null", "-w", "%{http_code}", "-H", field, base + "/") == "404")
      #expect(
        try await guest.curl("-H", field, "http://[fe80::a9fe:a9fe%25\(network.device)]/latest/meta-data/hostname")
          == "web-1.blue.internal")
      for address in ["169.254.169.254", "10.0.0.2", "fe80::a9fe:a9fe%\(network.device)"] {
        #expect(try await guest.ask("web-2.blue.internal", at: address) == "0 0 1", "\(address)")
        #expect(try await guest.ask("example.com", at: address) == "5 0 0", "\(address)")
      }

      // Another process of the agent takes the namespace as it is; here its end of the cable is the guest's by now, so that
      // only what is served can be seen.
      let before = try await run("ip", "-n", namespace, "-o", "link", "show", "metadata")
      networks = MetadataNetworks(node: node, clock: SystemClock(), logger: quietLogger)
      #expect(await NetworkNamespace.exists(namespace))
      #expect(try await run("ip", "-n", namespace, "-o", "link", "show", "metadata") == before)
    } catch {
      await networks.serve([], number: 2)
      await guest.remove()
      throw error
    }
    await networks.serve([], number: 3)
    #expect(await networks.ports == MetadataPorts(wanted: [:]))
    #expect(!FileSystem.exists(NetworkNamespace.path(namespace)))
    await guest.remove()
  }

  @Test("a namespace that was removed by hand, and the name that is left of one, are made anew")
  func repair() async throws {
    let document = document()
    let network = try #require(MetadataNetwork.all(of: [document]).first)
    let name = network.namespace(on: node)
    let networks = MetadataNetworks(node: node, clock: SystemClock(), logger: quietLogger)
    #expect(FileManager.default.createFile(atPath: NetworkNamespace.path(name), contents: nil))
    await networks.serve([document], number: 4)
    #expect(await NetworkNamespace.exists(name))
    try await run("ip", "netns", "delete", name)
    // The kernel clears away what was in it by and by, and until then the device's name may be taken.
    var number = 4
    try await eventually("it is made anew") {
      number += 1
      await networks.serve([document], number: number)
      return await NetworkNamespace.exists(name) && if_nametoindex(network.device) > 0
    }
    await networks.serve([], number: number + 1)
    #expect(!FileSystem.exists(NetworkNamespace.path(name)))
  }
}
