import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// Logging in at an issuer, with a browser.
///
/// Invariants:
/// - A login is finished by the browser that began it, once, and in time.
/// - Where the browser goes comes from the settings: nothing in a request can send it elsewhere.
/// - Nothing is written down for a login that is not finished.
struct IssuerLoginHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listLoginIssuers") { _ in .json(IssuerList(issuers: plane.issued.issuers.settings)) }
    table.on("beginIssuerLogin", begin)
    table.on("finishIssuerLogin", finish)
  }

  private func exchange(_ call: Call) throws -> CodeExchange {
    let name = call.string("issuer") ?? ""
    guard let issuer = plane.issued.issuers.named(name) else {
      throw Problem(.notFound, "there is no issuer \(name) to log in at; GET /v1/login/oidc lists them")
    }
    return CodeExchange(
      issuer: issuer, redirectURI: "\(plane.settings.publicURL)/v1/login/oidc/\(name)/callback")
  }

  private func begin(_ call: Call) async throws -> Reply {
    let exchange = try exchange(call)
    try plane.logins.limits.admit(from: call.request.peer.address)
    let cookie = LoginCookie(
      issuer: exchange.issuer.settings.name, now: plane.environment.now(), environment: plane.environment)
    let url = try await exchange.authorizationURL(cookie)
    return Self.redirect(to: url, cookies: [cookie.setting])
  }

  private func finish(_ call: Call) async throws -> Reply {
    let exchange = try exchange(call)
    let address = call.request.peer.address
    try plane.logins.limits.admit(from: address)
    // What has not begun here is refused before it costs anything, and is not counted: a page of somebody else can make a
    // browser ask for it, and must not use up its address's logins.
    let (cookie, code) = try answer(call, exchange.issuer.settings)
    do {
      return try await finish(call, exchange, cookie, code)
    } catch let problem as Problem where problem.status < 500 {
      plane.logins.limits.failed(account: nil, from: address)
      if plane.logins.mayRecord() { plane.refusals.note(call, code: problem.code) } else { plane.refusals.leaveOut() }
      throw problem
    }
  }

  /// The login that this browser has begun, and the code that the issuer sent it back with.
  private func answer(_ call: Call, _ settings: IssuerSettings) throws -> (LoginCookie, String) {
    guard let cookie = LoginCookie(call.request.headers), cookie.issuer == settings.name,
      cookie.isInTime(at: plane.environment.now()), let state = call.string("state"),
      SecretComparison.isEqual(state, cookie.state)
    else {
      throw Problem(
        .loginFailed, "this browser has not begun this login, or too long ago; begin anew: GET /v1/login/oidc/…")
    }
    // RFC 9207: one issuer's answer must not be taken for another's.
    if let issuer = call.string("iss"), issuer != settings.url {
      throw Problem(.loginFailed, "the answer is of another issuer than the one that was asked")
    }
    if let error = call.string("error") {
      throw Problem(.loginFailed, "the issuer \(settings.name) refused the login: \(error.prefix(64))")
    }
    guard let code = call.string("code") else {
      throw Problem(.loginFailed, "the issuer \(settings.name) sent neither a code nor an error")
    }
    return (cookie, code)
  }

  private func finish(
    _ call: Call, _ exchange: CodeExchange, _ cookie: LoginCookie, _ code: String
  ) async throws -> Reply {
    if try await plane.database.run({ session in try UsedLogins.isUsed(cookie, in: session) }) {
      throw UsedLogins.again
    }
    let token = try await exchange.idToken(for: code, cookie)
    let assertion: Assertion
    do {
      assertion = try await plane.issued.issuers.verify(idToken: token, by: exchange.issuer, nonce: cookie.nonce)
    } catch let problem as Problem where problem.status < 500 {
      throw Problem(.loginFailed, "the issuer \(exchange.issuer.settings.name): \(problem.detail)")
    }
    let login = SessionStore.Login(
      user: try await plane.issued.user(of: assertion), peer: call.request.peer.address, issuer: assertion.issuer,
      claimValues: assertion.values)
    let path = plane.settings.consolePath
    return try await SessionBeginning(plane: plane).begin(login, call) { session in
      try UsedLogins.use(cookie, in: session)
    } reply: { _, secret, sessions in
      Self.redirect(
        to: path, cookies: [SessionCookie.setting(secret, seconds: sessions.absoluteSeconds), LoginCookie.clearing])
    }
  }

  private static func redirect(to url: String, cookies: [String]) -> Reply {
    var reply = Reply(status: .seeOther)
    reply.headers[.location] = url
    for cookie in cookies { reply.headers.append(HTTPField(name: .setCookie, value: cookie)) }
    reply.headers[header: "Referrer-Policy"] = "no-referrer"
    return reply
  }
}

/// Where one can log in. Of the settings it shows what a browser or the command line has to know and no more.
private struct IssuerList: JSONWritable {
  let issuers: [IssuerSettings]

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.arrayField("items") { writer in
        for issuer in issuers { writer.object { Self.write(issuer, to: &$0) } }
      }
    }
  }

  private static func write(_ issuer: IssuerSettings, to writer: inout JSONWriter) {
    writer.field("name", issuer.name)
    writer.field("login_path", "/v1/login/oidc/\(issuer.name)")
    guard let client = issuer.cliClientID else { return }
    writer.field("issuer", issuer.url)
    writer.field("cli_client_id", client)
    writer.arrayField("scopes") { writer in
      for scope in ["openid"] + issuer.scopes { writer.write(scope) }
    }
  }
}
