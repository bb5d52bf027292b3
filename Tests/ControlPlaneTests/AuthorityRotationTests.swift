import ControlPlane
import Foundation
import Testing

/// The rule alone, without a database.
@Suite("Rotation of the authority")
struct AuthorityRotationTests {
  private let old = UUID()
  private let new = UUID()
  private let now = Date(timeIntervalSince1970: 2_000_000_000)

  private func rotation(
    _ states: [(UUID, AuthorityState)], age: TimeInterval = 3600, untrusting: [String] = [], unrenewed: [String] = [],
    ends: TimeInterval = 1e8
  ) -> AuthorityRotation {
    AuthorityRotation(
      now: now,
      members: states.map {
        .init(id: $0, state: $1, since: now.addingTimeInterval(-age), notAfter: now.addingTimeInterval(ends))
      }, untrusting: untrusting, unrenewed: unrenewed)
  }

  @Test("an authority alone rests, also by force")
  func rest() {
    for forced in [false, true] {
      #expect(rotation([(old, .active)], unrenewed: ["a"]).answer(forced: forced) == .rest)
      #expect(rotation([]).answer(forced: forced) == .rest)
    }
  }

  @Test("the next one becomes active when every node with a good certificate trusts it, or by force")
  func activate() {
    let states: [(UUID, AuthorityState)] = [(old, .active), (new, .next)]
    #expect(rotation(states, untrusting: ["a"]).answer() == .waitForTrust(nodes: ["a"]))
    #expect(rotation(states, unrenewed: ["a"]).answer() == .take(.activate(new, retiring: old)))
    #expect(rotation(states, untrusting: ["a"]).answer(forced: true) == .take(.activate(new, retiring: old)))
  }

  @Test("the old one is retired when no good certificate of it is left, when it has ended, or by force")
  func retire() {
    let states: [(UUID, AuthorityState)] = [(old, .retiring), (new, .active)]
    #expect(rotation(states, unrenewed: ["a"]).answer() == .waitForRenewal(nodes: ["a"]))
    #expect(rotation(states).answer() == .take(.retire(old)))
    #expect(rotation(states, unrenewed: ["a"]).answer(forced: true) == .take(.retire(old)))
    #expect(rotation(states, unrenewed: ["a"], ends: -1).answer() == .take(.retire(old)))
  }

  @Test("no state is left before every replica has had the time to see it, not even by force")
  func settling() {
    for states: [(UUID, AuthorityState)] in [[(old, .active), (new, .next)], [(old, .retiring), (new, .active)]] {
      let young = rotation(states, age: AuthorityRotation.settling - 1)
      for forced in [false, true] {
        #expect(young.answer(forced: forced) == .waitForReplicas(until: now.addingTimeInterval(1)))
      }
      guard case .take = rotation(states, age: AuthorityRotation.settling).answer() else {
        Issue.record("\(states) goes on for ever")
        continue
      }
    }
  }

  @Test("from any state, taking what is answered ends with one authority, the newest")
  func ends() throws {
    var states: [(UUID, AuthorityState)] = [(old, .active), (new, .next)]
    for _ in 0..<2 {
      guard case .take(let step) = rotation(states).answer() else { break }
      switch step {
      case .activate(let id, let retiring):
        states = states.map { ($0.0, $0.0 == id ? .active : $0.0 == retiring ? .retiring : $0.1) }
      case .retire(let id): states.removeAll { $0.0 == id }
      }
    }
    #expect(states.map(\.0) == [new] && states.map(\.1) == [.active])
  }
}
