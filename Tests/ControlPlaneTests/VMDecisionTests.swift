import AloftModel
import Foundation
import Testing

@testable import ControlPlane

@Suite("The decision about a VM")
struct VMDecisionTests {
  private static let now = Date(timeIntervalSince1970: 1_000_000)

  private static func operation(
    _ kind: OperationKind, generation: Int = 2, deadline: TimeInterval = 60, request: UUID? = nil
  ) -> OpenOperation {
    OpenOperation(
      id: UUID(), kind: kind, generation: generation, request: request, deadline: now.addingTimeInterval(deadline))
  }

  /// What is decided about one operation.
  private func outcome(of operation: OpenOperation, _ facts: VMFacts) -> OperationOutcome? {
    VMDecision.of(facts, open: [operation], now: Self.now).operations[operation.id]
  }

  private func isFailed(_ outcome: OperationOutcome?, _ failure: OperationFailure) -> Bool {
    if case .failed(failure, _) = outcome { true } else { false }
  }

  @Test("a deletion overtakes everything, and nothing overtakes a deletion")
  func deleteWins() {
    for facts in Facts.all where facts.intent.deleted {
      let start = Self.operation(.startVM)
      let delete = Self.operation(.deleteVM)
      let decision = VMDecision.of(facts, open: [start, delete], now: Self.now)
      if case .running = decision.operations[start.id] { Issue.record("the start goes on: \(facts)") }
      #expect((decision.operations[delete.id] == .succeeded) == decision.purge, "\(facts)")
      #expect(!decision.followGuestPowerOff, "\(facts)")
    }
  }

  @Test("nothing is purged that was not deleted, or that a node may still have")
  func purge() {
    for facts in Facts.all where VMDecision.of(facts, open: [], now: Self.now).purge {
      #expect(facts.intent.deleted)
      if facts.host != nil { #expect(facts.current?.power == .absent && facts.current?.generation == 2) }
    }
  }

  @Test("every operation has ended once its deadline is over, whatever the facts")
  func deadline() {
    for facts in Facts.all {
      for kind in OperationKind.allCases where kind != .deleteProject {
        let late = Self.operation(kind, deadline: -1, request: Facts.request)
        let outcome = outcome(of: late, facts)
        if case .running = outcome { Issue.record("\(kind) goes on: \(facts)") }
        #expect(outcome != nil, "\(kind): \(facts)")
      }
    }
  }

  @Test("an operation whose time is over tells the problem that kept it, or that nobody reported")
  func deadlineCodes() {
    let late = Self.operation(.startVM, deadline: -1)
    #expect(isFailed(outcome(of: late, Facts.make(power: .stopped, problem: true)), .hypervisorRefused))
    #expect(isFailed(outcome(of: late, Facts.make(power: .stopped)), .deadlineExceeded))
    #expect(isFailed(outcome(of: late, Facts.make(observed: nil)), .deadlineExceeded))
  }

  @Test("a later wish for the opposite overtakes")
  func superseded() {
    #expect(
      isFailed(
        outcome(of: Self.operation(.startVM), Facts.make(desired: .stopped, power: .stopped, generation: 1)),
        .superseded))
    #expect(isFailed(outcome(of: Self.operation(.stopVM), Facts.make(power: .running)), .superseded))
    #expect(
      isFailed(
        outcome(
          of: Self.operation(.rebootVM, request: Facts.request),
          Facts.make(desired: .stopped, power: .running, pending: true)), .superseded))
  }

  @Test("an operation succeeds with what was seen at its generation, and not before")
  func success() {
    let start = Self.operation(.startVM)
    #expect(outcome(of: start, Facts.make(power: .running)) == .succeeded)
    #expect(outcome(of: start, Facts.make(power: .running, generation: 1)) != .succeeded)
    let stop = Self.operation(.stopVM)
    #expect(outcome(of: stop, Facts.make(desired: .stopped, power: .stopped)) == .succeeded)
    #expect(outcome(of: stop, Facts.make(desired: .stopped, power: .running)) != .succeeded)
    let create = Self.operation(.createVM, generation: 1)
    #expect(outcome(of: create, Facts.make(power: .running)) == .succeeded)
    #expect(outcome(of: create, Facts.make(desired: .stopped, power: .stopped)) == .succeeded)
    #expect(outcome(of: create, Facts.make(power: .absent)) != .succeeded)
    let reboot = Self.operation(.rebootVM, request: Facts.request)
    #expect(outcome(of: reboot, Facts.make(power: .running, pending: true)) != .succeeded)
    #expect(outcome(of: reboot, Facts.make(power: .running)) == .succeeded)
  }

  @Test("only a guest that turned itself off under the newest wish to run is followed")
  func guestPowerOff() {
    #expect(VMDecision.of(Facts.make(power: .stopped, guestStopped: true), open: [], now: Self.now).followGuestPowerOff)
    for facts in Facts.all where VMDecision.of(facts, open: [], now: Self.now).followGuestPowerOff {
      #expect(facts.intent.desiredPower == .running && !facts.intent.deleted)
      #expect(facts.current?.guestStopped == true && facts.current?.power == .stopped)
      #expect(facts.current?.generation == 2)
    }
  }

  @Test(
    "a guest that turned itself off ends every operation but a deletion with that decision, and leaves nothing to look at"
  )
  func guestPowerOffEndsOperations() {
    for facts in Facts.all {
      let reboot = Self.operation(.rebootVM, request: Facts.request)
      let open = [Self.operation(.createVM), Self.operation(.startVM), Self.operation(.stopVM), reboot]
      let decision = VMDecision.of(facts, open: open, now: Self.now)
      guard decision.followGuestPowerOff else { continue }
      #expect(decision.nextLook == nil, "\(facts)")
      if case .failed(_, let detail) = decision.operations[reboot.id] {
        #expect(!detail.contains("request"), "nobody asked for it: \(detail)")
        #expect(decision.withdrawn(of: open) == [Facts.request])
      }
    }
  }

  @Test("a VM that is meant to be stopped and crashed is off: its creation and its stop are done")
  func crashedIsOff() {
    let facts = Facts.make(desired: .stopped, power: .crashed)
    #expect(outcome(of: Self.operation(.createVM, generation: 1), facts) == .succeeded)
    #expect(outcome(of: Self.operation(.stopVM), facts) == .succeeded)
    #expect(outcome(of: Self.operation(.createVM, generation: 1), Facts.make(power: .crashed)) != .succeeded)
  }

  @Test("a decision that was performed decides nothing new: the next look is the earliest deadline")
  func rest() {
    var first = Self.operation(.startVM, deadline: 90)
    var second = Self.operation(.rebootVM, deadline: 30, request: Facts.request)
    let facts = Facts.make(power: .stopped, generation: 1, pending: true)
    let decision = VMDecision.of(facts, open: [first, second], now: Self.now)
    #expect(decision.nextLook == second.deadline)
    #expect(decision.operations.count == 2)
    guard case .running(let waitingFor, let progress) = decision.operations[first.id] else {
      Issue.record("the start does not wait")
      return
    }
    first.status = .running
    first.waitingFor = waitingFor
    first.progress = progress
    second.status = .running
    second.waitingFor = waitingFor
    second.progress = progress
    #expect(VMDecision.of(facts, open: [first, second], now: Self.now).operations.isEmpty)
  }

  @Test("an operation on a VM whose node was removed fails for that reason")
  func nodeRemoved() {
    for kind in OperationKind.allCases where ![.deleteVM, .deleteProject].contains(kind) {
      let outcome = outcome(of: Self.operation(kind, generation: 3), Facts.make(observed: nil, host: false))
      #expect(isFailed(outcome, .nodeRemoved) || isFailed(outcome, .superseded), "\(kind)")
    }
  }
}
