import AloftModel
import ArgumentParser
import Execution
import Foundation
import NodeAgent
import SimulatedHypervisor

/// Simulated nodes on a real control plane: the real agent and its real link over HTTPS, a simulated hypervisor and storage
/// that take no time. Creates machines and says how long they took to run, and how long agents took to begin.
struct Fleet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Join simulated nodes and create machines on them.")

  @Option(help: "The control plane's address.")
  var url: String
  @Option(help: "The certificate of its authority in PEM.")
  var ca: String
  @Option(help: "An API token.")
  var token: String
  @Option(help: "The name of an image that has content.")
  var image: String
  @Option(help: "A directory for the nodes' identities.")
  var directory: String
  @Option(help: "How many nodes.")
  var nodes = 20
  @Option(help: "How many machines to create one after another, each when the one before runs.")
  var single = 0
  @Option(help: "How many machines to create with --writers at a time.")
  var many = 0
  @Option(help: "How many clients create at a time; each waits until its machine runs.")
  var writers = 32

  func run() async throws {
    let cloud = CloudClient(url: url, ca: ca, token: token, connections: writers + 4)
    let starts = StartTimes()
    let agents = Lock<[Task<Void, Never>]>([])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<nodes {
        let node = SimulatedNode(
          name: "bench-\(index)", directory: "\(directory)/\(index)", url: url, ca: ca, starts: starts)
        group.addTask {
          let agent = try await node.join(token: try await cloud.joinToken())
          agents.withLock { $0.append(Task { await agent.run() }) }
        }
      }
      try await group.waitForAll()
    }
    defer { for task in agents.withLock({ $0 }) { task.cancel() } }
    // Each node fetches the image once; that is not what is measured.
    try await createAll(cloud, count: nodes * 4, prefix: "warm", into: Times())
    if single > 0 { try await one(cloud, starts) }
    if many > 0 { try await several(cloud) }
  }

  private func one(_ cloud: CloudClient, _ starts: StartTimes) async throws {
    let sinceAccepted = Times()
    let sinceSent = Times()
    for index in 0..<single {
      let sent = ContinuousClock.now
      let vm = try await cloud.create("single-\(index)", image: image, wait: nil)
      let accepted = ContinuousClock.now
      let begun = try await starts.first(of: vm)
      // The agent may begin before the client has read its answer.
      sinceAccepted.add(max(.zero, begun - accepted))
      sinceSent.add(begun - sent)
      try await cloud.waitUntilRuns(vm)
    }
    sinceAccepted.report("begin")
    sinceSent.report("begin_sent")
  }

  private func several(_ cloud: CloudClient) async throws {
    let times = Times()
    let begin = ContinuousClock.now
    try await createAll(cloud, count: many, prefix: "many", into: times)
    print("rate \(Double(many) / (ContinuousClock.now - begin).seconds)")
    times.report("create")
  }

  private func createAll(_ cloud: CloudClient, count: Int, prefix: String, into times: Times) async throws {
    let next = Lock(0)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<min(writers, count) {
        group.addTask {
          while true {
            let index = next.withLock { next in
              defer { next += 1 }
              return next
            }
            guard index < count else { return }
            let sent = ContinuousClock.now
            _ = try await cloud.create("\(prefix)-\(index)", image: image, wait: 60)
            times.add(ContinuousClock.now - sent)
          }
        }
      }
      try await group.waitForAll()
    }
  }
}
