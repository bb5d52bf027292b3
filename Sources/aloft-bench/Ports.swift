import AloftModel
import ArgumentParser
import Execution
import Foundation
import JSON
import Logging
import NodeAgent
import OVSDB

/// What lies between a request for a NIC and its port: the control plane's share until the northbound database has it, and
/// northd's until the southbound one has. Simulated nodes, everything else is real.
struct Ports: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Connect machines to a network, then one NIC after another, and say when OVN had each.")

  @Option(help: "The control plane's address.")
  var url: String
  @Option(help: "The certificate of its authority in PEM.")
  var ca: String
  @Option(help: "An API token.")
  var token: String
  @Option(help: "The name of an image that has content.")
  var image: String
  @Option(help: "A directory for the node's identity.")
  var directory: String
  @Option(help: "The northbound database, unix:PATH.")
  var northbound: String
  @Option(help: "The southbound database, unix:PATH.")
  var southbound: String
  @Option(help: "How many ports there are before one more is measured; eight of each machine.")
  var ports = 2000
  @Option(help: "How many are measured, one after another.")
  var more = 40

  private static let nicsOfVM = 8

  func run() async throws {
    let cloud = CloudClient(url: url, ca: ca, token: token, connections: 16)
    let node = SimulatedNode(
      name: "ports", directory: directory, url: url, ca: ca, starts: StartTimes(), hasNetworks: true)
    let agent = try await node.join(token: try await cloud.joinToken())
    let running = Task { await agent.run() }
    defer { running.cancel() }
    try await cloud.makeNetwork("bench", cidr: "10.0.0.0/16")
    let wires = try Arrivals(northbound: northbound, southbound: southbound)
    defer { wires.close() }

    let whole = try await fill(cloud, wires)
    print("filled \(Double(ports) / whole.seconds)")
    let ours = Times()
    let theirs = Times()
    for index in 0..<more {
      let vm = "spare-\(index / Self.nicsOfVM)"
      if index % Self.nicsOfVM == 0 { _ = try await cloud.create(vm, image: image, wait: 60, networks: []) }
      let sent = ContinuousClock.now
      let nic = try await cloud.plug(vm, into: "bench")
      let written = try await wires.written(nic)
      let bound = try await wires.bound(nic)
      ours.add(written - sent)
      theirs.add(bound - written)
    }
    ours.report("ours")
    theirs.report("northd")
    try await floor()
  }

  /// Machines with as many NICs as one may have. Returns how long it took until the northbound database had all of them.
  private func fill(_ cloud: CloudClient, _ wires: Arrivals) async throws -> Duration {
    let begin = ContinuousClock.now
    let next = Lock(0)
    let count = ports / Self.nicsOfVM
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          while true {
            let index = next.withLock { next in
              defer { next += 1 }
              return next
            }
            guard index < count else { return }
            let networks = [String](repeating: "bench", count: Self.nicsOfVM)
            _ = try await cloud.create("full-\(index)", image: image, wait: nil, networks: networks)
          }
        }
      }
      try await group.waitForAll()
    }
    try await wires.wait(forPorts: count * Self.nicsOfVM)
    return ContinuousClock.now - begin
  }

  /// The same rows by hand, one transaction for each: what no control plane can be faster than.
  private func floor() async throws {
    let client = try Arrivals.client("OVN_Northbound", northbound)
    defer { client.close() }
    let network = UUID()
    try await client.transact([
      .insert(table: "Logical_Switch", row: ["name": "by-hand"], as: .identified(network))
    ])
    let times = Times()
    let begin = ContinuousClock.now
    for _ in 0..<200 {
      let sent = ContinuousClock.now
      let port = UUID()
      try await client.transact([
        .insert(table: "Logical_Switch_Port", row: ["name": .string(port.uuidString)], as: .identified(port)),
        .mutate(
          table: "Logical_Switch", where: [Condition("_uuid", .equal, .uuid(network))],
          mutations: [Mutation("ports", .insert, .uuid(port))]),
      ])
      times.add(ContinuousClock.now - sent)
    }
    print("by_hand_rate \(200 / (ContinuousClock.now - begin).seconds)")
    times.report("by_hand")
    try await client.transact([.delete(table: "Logical_Switch", where: [Condition("_uuid", .equal, .uuid(network))])])
  }
}
