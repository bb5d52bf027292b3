import AloftModel
import Foundation

/// A token that somebody wants to have.
struct NewToken: Sendable {
  var description: String
  /// For whom it is to act.
  var user: UserID
  /// The one project that it is for, and the most that it may there; nil: all that the user may.
  var limit: Principal.Grant?
  /// For how long it is to be good; nil: without end.
  var seconds: Int?

  /// Why it may not be made by `maker`'s token at `now`: a token never makes one that allows more than itself, or that lives
  /// longer, or that acts for somebody else unless it may change users.
  func refusal(for maker: Principal, at now: Date) -> Problem? {
    if user != maker.user, maker.cloudRole?.holds(.userWrite) != true { return Self.forOthers }
    if let most = maker.limit {
      let allowed = "the token that asks is for project \(most.name) with the role \(most.role.rawValue) at most"
      guard let limit, limit.project == most.project else {
        return Self.forbidden("\(allowed), and so is every token that it makes: name project and role", "/project")
      }
      guard limit.role <= most.role else { return Self.forbidden(allowed, "/role") }
    }
    // Who is in a session has logged in just for this: the token outlives it.
    guard maker.session == nil, let end = maker.expiresAt else { return nil }
    let rest = Int(end.timeIntervalSince(now))
    if let seconds, seconds <= rest { return nil }
    return Self.forbidden(
      "the token that asks ends at \(end.formatted(.iso8601)), and so must every token that it makes: ttl_seconds can be \(rest) at most",
      "/ttl_seconds")
  }

  static let forOthers = forbidden(
    "only who holds user.write may have to do with the tokens and sessions of other users", "/user")

  private static func forbidden(_ detail: String, _ pointer: String) -> Problem {
    Problem(.forbidden, detail, errors: [.init(code: .forbidden, detail: "more than is allowed", pointer: pointer)])
  }
}
