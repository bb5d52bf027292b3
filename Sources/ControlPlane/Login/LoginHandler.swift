import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The login by name and password.
///
/// Invariants:
/// - A login makes a new session whatever cookie came with it: a session that somebody planted is never adopted.
/// - A name that does not exist, a service, a user without a password and a wrong password get the same words behind the same
///   work.
/// - The password was still the user's when the session was made: both are decided under the user's lock.
struct LoginHandler: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("createSession", login)
  }

  private struct Body: Decodable {
    var user: String
    var password: String
  }

  /// What is known of an account before its password is tried.
  private struct Account: Sendable {
    var id: UserID
    var name: String
    var hash: PasswordHash?
    var isKnownSite: Bool
  }

  private func login(_ call: Call) async throws -> Reply {
    try CrossSite.checkOrigin(call.request.head, publicURL: plane.settings.publicURL)
    let (address, limits) = (call.request.peer.address, plane.logins.limits)
    try limits.admit(from: address)
    let body = try call.decode(Body.self)
    let password = try PasswordStore.bytes(body.password, at: "/password")
    let account = try await plane.database.run { session in
      try Self.account(body.user, site: RateLimiter.site(address), in: session)
    }
    let isKnownSite = account?.isKnownSite ?? false
    // By the id, so that a name that is changed does not begin anew.
    let key = account?.id.description ?? body.user
    try limits.admit(account: key, called: body.user, from: address, isKnownSite: isKnownSite)
    guard try await plane.logins.hasher.verify(password, against: account?.hash), let account, let hash = account.hash
    else {
      limits.failed(account: key, from: address, isKnownSite: isKnownSite)
      record(.loginFailed, call, account)
      throw Problem(
        .loginFailed, "there is no such user with this password; a forgotten one can be set anew by an admin")
    }
    limits.succeeded(account: key, from: address)
    // Whoever has the password may know that the account is disabled.
    let renewed = hash.cost == plane.logins.hasher.cost ? nil : try await plane.logins.hasher.hash(password)
    do {
      return try await begin(account, hash, renewed, call)
    } catch let problem as Problem where problem.code == .userDisabled {
      record(.userDisabled, call, account)
      throw problem
    }
  }

  private static func account(_ name: String, site: String, in session: Session) throws -> Account? {
    let row = try session.one(
      """
      SELECT a.id, a.name, EXISTS (SELECT 1 FROM login_sites l WHERE l.user_id = a.id AND l.site = \(site)),
             \(fragment: PasswordStore.columns)
        FROM users a LEFT JOIN passwords w ON w.user_id = a.id WHERE a.name = \(name)
      """)
    return try row.map { row in
      Account(
        id: try row.get(0), name: try row.get(1), hash: try PasswordStore.hash(row, from: 3),
        isKnownSite: try row.get(2))
    }
  }

  private func begin(
    _ account: Account, _ hash: PasswordHash, _ renewed: PasswordHash?, _ call: Call
  ) async throws -> Reply {
    let login = SessionStore.Login(user: account.id, peer: call.request.peer.address)
    return try await SessionBeginning(plane: plane).begin(login, call) { session in
      guard try PasswordStore.find(account.id, in: session) == hash else {
        throw Problem(.loginFailed, "the password was changed just now; log in with the new one")
      }
      if let renewed { try PasswordStore.set(renewed, of: account.id, isSame: true, in: session) }
    } reply: { record, secret, settings in
      var reply = Reply.json(record, status: .created)
      reply.headers[.location] = "/v1/sessions/\(record.id)"
      reply.headers[.setCookie] = SessionCookie.setting(secret, seconds: settings.absoluteSeconds)
      return reply
    }
  }

  /// Records a login that failed, as far as there is room for what strangers do.
  private func record(_ code: ProblemCode, _ call: Call, _ account: Account?) {
    guard plane.logins.mayRecord() else { return plane.refusals.leaveOut() }
    var call = call
    if let account {
      call.principal.user = account.id
      call.principal.userName = account.name
    }
    plane.refusals.note(call, code: code)
  }
}

/// Makes the session that a login ends in.
struct SessionBeginning: Sendable {
  let plane: Plane

  /// - Parameters:
  ///   - confirm: what has to hold in the transaction, with the user locked.
  ///   - reply: the answer, from the session, its secret and how long it lasts.
  func begin(
    _ login: SessionStore.Login, _ call: Call, confirm: @escaping @Sendable (Session) throws -> Void,
    reply: @escaping @Sendable (SessionRecord, String, SessionSettings) throws -> Reply
  ) async throws -> Reply {
    let id = SessionID(plane.environment.newUUID())
    let secret = SessionCookie.makeSecret(plane.environment)
    let settings = plane.settings.sessions
    return try await plane.change(call) { session in
      guard try UserStore.lock([login.user], in: session) == [login.user],
        let user = try UserStore.find(login.user.description, in: session)
      else { throw Problem(.loginFailed, "the user was deleted just now") }
      if user.disabled { throw KnownCaller.disabled(user.name) }
      try confirm(session)
      var record = try SessionStore.insert(
        id, secret: secret, login, seconds: settings.absoluteSeconds, in: session)
      record.csrfToken = SessionCookie.csrfToken(secret)
      return Changed(
        reply: try reply(record, secret, settings), resource: id.uuid, actor: Principal(loggedIn: user, session: id))
    }
  }
}

extension Principal {
  /// Who has just logged in, for the audit.
  fileprivate init(loggedIn user: UserRecord, session: SessionID) {
    self.init(
      means: .session(session), user: user.id, userName: user.name, seal: [], cloudRole: nil, memberships: [],
      limit: nil)
  }
}
