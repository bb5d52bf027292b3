import AloftModel
import Testing

@testable import NodeAgent

@Suite("A list of documents that comes in parts")
struct WholeListTests {
  private var machine = AgentMachine(now: AgentTime(uptime: 0, wall: 0), seed: 1)
  private var uptime = 0

  /// Hands an event in; gives the poll that follows.
  private mutating func poll(after event: AgentEvent) -> (number: Int, after: Int, wait: Int)? {
    uptime += 1000
    for effect in machine.handle(event, now: AgentTime(uptime: uptime, wall: uptime)) {
      if case .poll(let number, let after, let wait) = effect { return (number, after, wait) }
    }
    return nil
  }

  private func part(_ vms: ClosedRange<Int>, revision: Int, complete: Bool?, sequence: Int? = nil) -> Assignments {
    Assignments(
      revision: revision, documents: vms.map { .sample(.sample($0)) }, sequence: sequence, complete: complete)
  }

  private var documented: [VMID] { machine.order.filter { machine.vms[$0]?.document != nil } }

  @Test("nothing is taken for whole before the part that is complete; a part that is lost is asked for again")
  mutating func parts() throws {
    let first = try #require(poll(after: .wake))
    #expect(first.after == 0)
    let second = try #require(
      poll(after: .polled(number: first.number, .success(part(1...2, revision: 2, complete: false, sequence: 9)))))
    #expect(second.after == 2 && second.wait == 0)
    #expect(!machine.isSynchronized)
    _ = poll(after: .polled(number: second.number, .failure(AgentFailure(.controlPlaneUnavailable, "lost"))))
    uptime += 60_000
    let again = try #require(machine.poll.underWay ?? poll(after: .wake).map { ($0.number, $0.after, uptime) })
    #expect(again.after == 2)
    #expect(!machine.isSynchronized)
    let next = try #require(
      poll(after: .polled(number: again.number, .success(part(3...4, revision: 4, complete: true)))))
    #expect(machine.isSynchronized)
    #expect(next.after == 4 && next.wait > 0)
    #expect(documented == (1...4).map { .sample($0) })
  }

  @Test("a later list in parts forgets what is in none of them, and only that")
  mutating func later() throws {
    let first = try #require(poll(after: .wake))
    let held = try #require(
      poll(after: .polled(number: first.number, .success(part(1...4, revision: 4, complete: nil)))))
    #expect(machine.isSynchronized && documented.count == 4)
    uptime += AgentMachine.Options().resyncInterval
    let whole = try #require(
      poll(after: .polled(number: held.number, .success(Assignments(revision: 4, documents: [])))))
    #expect(whole.after == 0)
    let rest = try #require(
      poll(after: .polled(number: whole.number, .success(part(1...2, revision: 2, complete: false)))))
    #expect(documented.count == 4, "the rest is still to come")
    _ = poll(after: .polled(number: rest.number, .success(part(3...3, revision: 4, complete: true))))
    #expect(documented == (1...3).map { .sample($0) })
  }

  @Test("a count that goes back in the middle of a list begins it anew")
  mutating func restored() throws {
    let first = try #require(poll(after: .wake))
    let second = try #require(
      poll(after: .polled(number: first.number, .success(part(1...2, revision: 20, complete: false)))))
    let anew = try #require(
      poll(after: .polled(number: second.number, .success(part(1...2, revision: 3, complete: true)))))
    #expect(anew.after == 0)
    #expect(!machine.isSynchronized)
  }
}
