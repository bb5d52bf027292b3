import AloftModel
import Foundation
import Testing

@testable import ControlPlane

@Suite("The state that users see")
struct VMStateTests {
  @Test("every combination of facts has a state, and the reasons never lie about it")
  func total() {
    var combinations = 0
    var seen: Set<VMState> = []
    for facts in Facts.all {
      let derived = VMDerivedState.of(facts)
      combinations += 1
      seen.insert(derived.state)
      if facts.intent.deleted { #expect(derived.state == .deleting, "\(facts)") }
      if facts.host == nil && !facts.intent.deleted { #expect(derived.state == .failed, "\(facts)") }
      if let host = facts.host, !host.alive, !facts.intent.deleted { #expect(derived.state == .unknown, "\(facts)") }
      if derived.state == .running {
        #expect(facts.current?.power == .running && facts.intent.desiredPower == .running, "\(facts)")
      }
      if derived.state == .stopped { #expect(facts.current?.power != .running, "\(facts)") }
      if [.unknown, .failed].contains(derived.state) { #expect(derived.reason != nil, "\(facts)") }
    }
    #expect(combinations > 1000)
    #expect(seen == Set(VMState.allCases))
  }

  @Test(
    "the rows that matter",
    arguments: [
      (Facts.make(observed: nil), VMState.creating), (Facts.make(power: .absent), .creating),
      (Facts.make(power: .stopped), .starting), (Facts.make(power: .crashed), .starting),
      (Facts.make(power: .running), .running), (Facts.make(power: .running, pending: true), .rebooting),
      (Facts.make(power: .stopped, guestStopped: true), .stopped),
      (Facts.make(power: .stopped, problem: true), .failed),
      (Facts.make(desired: .stopped, power: .running), .stopping),
      (Facts.make(desired: .stopped, power: .stopped), .stopped),
      (Facts.make(desired: .stopped, power: .stopped, generation: 1), .stopping),
      (Facts.make(power: .running, alive: false), .unknown), (Facts.make(power: .running, host: false), .failed),
      (Facts.make(deleted: true, power: .running), .deleting),
      (Facts.make(power: .running, incarnation: 0), .creating),
    ])
  func rows(_ facts: VMFacts, _ state: VMState) {
    #expect(VMDerivedState.of(facts).state == state)
  }

  @Test("a guest that ignored the power button is stopped, says so, and can be started")
  func guestIgnored() {
    func facts(_ desired: Power, _ power: Observation.Power) -> VMFacts {
      Facts.make(
        desired: desired,
        observed: VMObserved(
          incarnation: 1, generation: 2, power: power, problem: .init(code: .guestIgnored, detail: "its power was cut"))
      )
    }
    let stopping = VMDerivedState.of(facts(.stopped, .running))
    #expect(stopping == VMDerivedState(state: .stopping, reason: "its power was cut"))
    #expect(
      VMDerivedState.of(facts(.stopped, .stopped)) == VMDerivedState(state: .stopped, reason: "its power was cut"))
    #expect(VMDerivedState.of(facts(.running, .stopped)).state == .starting)
    #expect(VMDerivedState.of(facts(.running, .running)).state == .running)
  }
}

/// Facts about a VM in its incarnation 1 and generation 2.
enum Facts {
  static func make(
    desired: Power = .running, deleted: Bool = false, power: Observation.Power, generation: Int = 2,
    incarnation: Int = 1, guestStopped: Bool = false, problem: Bool = false, pending: Bool = false,
    alive: Bool = true, host: Bool = true
  ) -> VMFacts {
    make(
      desired: desired, deleted: deleted,
      observed: VMObserved(
        incarnation: incarnation, generation: generation, power: power, guestStopped: guestStopped,
        problem: problem ? .init(code: .hypervisorRefused, detail: "no KVM") : nil),
      pending: pending, alive: alive, host: host)
  }

  static func make(
    desired: Power = .running, deleted: Bool = false, observed: VMObserved?, pending: Bool = false,
    alive: Bool = true, host: Bool = true
  ) -> VMFacts {
    VMFacts(
      intent: VMIntent(desiredPower: desired, deleted: deleted, incarnation: 1, generation: 2), observed: observed,
      host: host ? VMHost(name: "node-a", alive: alive) : nil, pendingRequests: pending ? [request] : [])
  }

  static let request = UUID()

  /// Every combination of what the rules look at.
  static var all: [VMFacts] {
    var all: [VMFacts] = []
    let flags = [false, true]
    for desired in Power.allCases {
      for deleted in flags {
        for (host, alive) in [(false, true), (true, false), (true, true)] {
          for pending in flags {
            all.append(
              make(desired: desired, deleted: deleted, observed: nil, pending: pending, alive: alive, host: host))
            for power in Observation.Power.allCases {
              for generation in 1...2 {
                for incarnation in 0...1 {
                  for (guestStopped, problem) in [(false, false), (true, false), (false, true), (true, true)] {
                    all.append(
                      make(
                        desired: desired, deleted: deleted, power: power, generation: generation,
                        incarnation: incarnation, guestStopped: guestStopped, problem: problem, pending: pending,
                        alive: alive, host: host))
                  }
                }
              }
            }
          }
        }
      }
    }
    return all
  }
}
