import AloftModel
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("What nothing needs")
struct OrphanTests {
  private var machine = AgentMachine(now: AgentTime(uptime: 0, wall: 0), seed: 1)
  private var uptime = 0

  private mutating func handle(_ event: AgentEvent, after pause: Int = 10) -> [AgentEffect] {
    uptime += pause
    return machine.handle(event, now: AgentTime(uptime: uptime, wall: uptime))
  }

  /// What the heartbeat tells that follows a look at the node.
  private mutating func told(_ contents: NodeContents) -> [String]?? {
    _ = handle(.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20))))
    for effect in handle(.contentsRead(.success(contents))) {
      if case .heartbeat(let orphans) = effect { return orphans }
    }
    return nil
  }

  private mutating func synchronize(_ documents: Assignment..., volumes: [VolumeAssignment] = []) -> [AgentEffect] {
    _ = handle(.wake)
    guard let poll = machine.poll.underWay else { return [] }
    let list = Assignments(revision: 1, documents: documents, volumes: volumes, complete: true)
    return handle(.polled(number: poll.number, .success(list)))
  }

  @Test("nobody looks for it, and nothing is told, before it is known what is needed")
  mutating func notBefore() {
    #expect(handle(.wake).contains(.heartbeat(orphans: nil)))
    #expect(!handle(.wake, after: 100_000).contains(.readContents))
    #expect(synchronize().contains(.readContents))
  }

  @Test("volumes, files and machines of which the control plane says nothing are told at once; what it knows is not")
  mutating func unknown() throws {
    let document = Assignment.sample(.sample(1))
    let volume = VolumeAssignment.sample(1)
    _ = synchronize(document, volumes: [volume])
    let domain = VMDomain(vm: .sample(3), tag: DomainTag(incarnation: 1, generation: 1), power: .running)
    _ = handle(.listed(.success([domain])))
    let contents = NodeContents(
      vms: [.sample(1), .sample(2)],
      pools: [
        "local": PoolContents(volumes: [.sample(1), .sample(2)]),
        "fast": PoolContents(unowned: ["layers/x.qcow2"]),
      ])
    let expected = [
      "file layers/x.qcow2 in pool fast", "files of \(VMID.sample(2))", "virtual machine \(VMID.sample(3))",
      "volume \(VolumeID.sample(2)) in pool local",
    ]
    #expect(told(contents) == .some(expected))
    #expect(handle(.wake, after: 60_000).contains(.readContents), "it is looked at again")
    #expect(machine.orphans == expected)
    _ = handle(.contentsRead(.failure(AgentFailure(.storage, "no"))))
    #expect(machine.orphans == expected, "who could not look knows nothing new")
    _ = handle(.listed(.success([])))
    #expect(told(NodeContents()) == .some([]))
  }

  @Test("a thousand of them are told by their number")
  mutating func many() throws {
    _ = synchronize()
    let contents = NodeContents(pools: ["local": PoolContents(unowned: (0..<1000).map { "layers/\($0)" })])
    let orphans = try #require(told(contents) ?? nil)
    #expect(orphans.count == 101 && orphans.last == "and 900 more")
  }

  @Test("a pool tells layers that nobody names, damaged manifests and what is no file of its, but nothing half made")
  func pool() async throws {
    let directory = try TemporaryDirectory()
    let pool = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    for number in 1...3 { try await pool.create(.sample(number), sizeBytes: 1 << 30, from: nil) }
    func path(_ name: String) -> URL { URL(fileURLWithPath: "\(directory.path)/\(name)") }
    try Data().write(to: path("layers/.half.qcow2"))
    try Data().write(to: path("volumes/half.new"))
    #expect(await pool.contents() == PoolContents(volumes: [.sample(1), .sample(2), .sample(3)]))

    try Data("mine".utf8).write(to: path("layers/notes.txt"))
    try Data().write(to: path("volumes/readme"))
    guard case .whole(let stored) = try await pool.look(.sample(1)) else { throw AgentFailure(.storage, "not whole") }
    try FileManager.default.removeItem(at: path("volumes/\(VolumeID.sample(1)).json"))
    let reopened = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    let layer = "layers/" + URL(fileURLWithPath: stored.source.path).lastPathComponent
    #expect(
      await reopened.contents()
        == PoolContents(
          volumes: [.sample(2), .sample(3)], unowned: [layer, "layers/notes.txt", "volumes/readme"].sorted()))
  }
}
