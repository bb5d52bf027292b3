import Foundation

/// What an authority is for just now.
public enum AuthorityState: String, Sendable, CaseIterable {
  /// Published: agents and replicas learn to trust it. It signs nothing yet.
  case next
  /// Signs nodes and replicas. There is one, always.
  case active
  /// Signs nothing any more; what it has signed is still good.
  case retiring
  /// What it has signed is refused, and its key is gone.
  case retired
}

/// How one authority takes another's place, as a pure function: which step is next, or what is waited for.
///
///     (none) → next → active → retiring → retired
///
/// Invariants:
/// - Nothing is signed by an authority that somebody who still has a good certificate does not trust yet.
/// - An authority is refused only when nobody who still has a good certificate depends on it.
/// - A node whose certificate has ended holds nothing up: it has to join again anyway, and learns then whom to trust.
/// - An operator may force a step; then nodes may have to join again, but guests run on.
public struct AuthorityRotation: Sendable, Equatable {
  /// One authority that is not retired.
  public struct Member: Sendable, Equatable {
    public var id: UUID
    public var state: AuthorityState
    /// Since when it is in this state.
    public var since: Date
    public var notAfter: Date

    public init(id: UUID, state: AuthorityState, since: Date, notAfter: Date) {
      self.id = id
      self.state = state
      self.since = since
      self.notAfter = notAfter
    }
  }

  /// What is to be done, in one transaction.
  public enum Step: Sendable, Equatable {
    /// The next one becomes active; who was it retires.
    case activate(UUID, retiring: UUID)
    case retire(UUID)
  }

  public enum Answer: Sendable, Equatable {
    /// No authority is being replaced.
    case rest
    /// Replicas look every few seconds: until then one of them may not know yet.
    case waitForReplicas(until: Date)
    /// Nodes with a good certificate that do not trust the next authority yet.
    case waitForTrust(nodes: [String])
    /// Nodes whose good certificate is still the retiring authority's.
    case waitForRenewal(nodes: [String])
    case take(Step)
  }

  public var now: Date
  public var members: [Member]
  /// Names of nodes with a good certificate that do not trust the next authority.
  public var untrusting: [String]
  /// Names of nodes with a good certificate of another authority than the active one.
  public var unrenewed: [String]

  public init(now: Date, members: [Member], untrusting: [String], unrenewed: [String]) {
    self.now = now
    self.members = members
    self.untrusting = untrusting
    self.unrenewed = unrenewed
  }

  /// For how long each state lasts at least: every replica that has the database has looked by then, many times.
  public static let settling: TimeInterval = 30

  /// - Parameter forced: whatever nodes are waited for; replicas are waited for all the same.
  public func answer(forced: Bool = false) -> Answer {
    guard let active = member(.active) else { return .rest }
    if let retiring = member(.retiring) {
      if let wait = settles(retiring) { return wait }
      // What an authority signed ends before it does.
      if !unrenewed.isEmpty, !forced, retiring.notAfter > now { return .waitForRenewal(nodes: unrenewed) }
      return .take(.retire(retiring.id))
    }
    guard let next = member(.next) else { return .rest }
    if let wait = settles(next) { return wait }
    if !untrusting.isEmpty, !forced { return .waitForTrust(nodes: untrusting) }
    return .take(.activate(next.id, retiring: active.id))
  }

  private func member(_ state: AuthorityState) -> Member? { members.first { $0.state == state } }

  private func settles(_ member: Member) -> Answer? {
    let until = member.since.addingTimeInterval(Self.settling)
    return now < until ? .waitForReplicas(until: until) : nil
  }
}

extension AuthorityRotation.Answer: CustomStringConvertible {
  public var description: String {
    switch self {
    case .rest: "no authority is being replaced"
    case .waitForReplicas(let until):
      "waiting until \(until.formatted(.iso8601)), so that every replica knows"
    case .waitForTrust(let nodes):
      "waiting until these nodes have heard of the next authority (or their certificates end): \(Self.list(nodes))"
    case .waitForRenewal(let nodes):
      "waiting until these nodes have a certificate of the active authority (or theirs end): \(Self.list(nodes))"
    case .take(.activate): "the next authority is about to become active"
    case .take(.retire): "the retiring authority is about to be retired"
    }
  }

  private static func list(_ nodes: [String]) -> String {
    nodes.prefix(20).joined(separator: ", ") + (nodes.count > 20 ? " and \(nodes.count - 20) more" : "")
  }
}
