import Foundation
import Logging

/// Renews the token of a context that an issuer made, before it is used.
///
/// Some issuers take each refresh token once, and end the whole login when one comes twice. So two commands never renew the
/// same login at a time: the second one finds what the first has stored.
struct LoginRenewal: Sendable {
  enum Step: Equatable {
    case use
    case renew
    case ended
  }

  /// A token that ends sooner than this, in seconds, might not survive the way to the server.
  static let margin: TimeInterval = 30

  let name: String
  let file: ConfigFile
  let surroundings: Surroundings
  let logger: Logger

  /// What to do before the context's token is sent. A token that does not say when it ends is sent: the server knows.
  static func step(_ context: CloudContext, now: Date) -> Step {
    guard let login = context.oidc, let end = context.token.flatMap(IDToken.init)?.expiresAt else { return .use }
    if end > now.addingTimeInterval(margin) { return .use }
    if login.refreshToken != nil { return .renew }
    return end > now ? .use : .ended
  }

  /// The token to send: the context's, or the one that has taken its place.
  func token(of context: CloudContext) async throws(CommandFailure) -> String? {
    switch Self.step(context, now: surroundings.now()) {
    case .use: return context.token
    case .ended: throw again("the login at \(context.oidc?.issuer ?? "the issuer") has ended")
    case .renew: break
    }
    let renewed = try await file.update(surroundings) { clouds async throws(CommandFailure) -> CloudContext? in
      guard var current = clouds.contexts[name], current.url == context.url else { return nil }
      guard Self.step(current, now: surroundings.now()) == .renew else { return current }
      try await renew(&current)
      clouds.contexts[name] = current
      return current
    }
    guard let renewed, Self.step(renewed, now: surroundings.now()) == .use else {
      throw again("the context \(name) has been logged out, or its token ends at once by this machine's clock")
    }
    return renewed.token
  }

  private func renew(_ context: inout CloudContext) async throws(CommandFailure) {
    guard var login = context.oidc, let refreshToken = login.refreshToken else { return }
    let answer: IssuerClient.Tokens
    do throws(CommandFailure) {
      let client = try await IssuerClient(issuer: login.issuer, caCert: login.caCert, logger: logger)
      defer { client.close() }
      answer = try await client.tokens(
        for: [("grant_type", "refresh_token"), ("refresh_token", refreshToken), ("client_id", login.clientID)],
        at: login.tokenEndpoint)
    } catch {
      if error.status == .interrupted { throw error }
      throw again("the login has to be renewed, and was not: \(error.detail)", error.status)
    }
    guard let token = answer.idToken.flatMap(IDToken.init) else {
      throw again("the issuer \(login.issuer) gives no id token when a login is renewed")
    }
    let before = context.token.flatMap(IDToken.init)?.subject
    if let fault = token.fault(issuer: login.issuer, clientID: login.clientID, subject: before) {
      throw again("the new id token of \(login.issuer) is not taken: \(fault)")
    }
    login.refreshToken = answer.refreshToken ?? refreshToken
    (context.token, context.oidc) = (token.text, login)
  }

  private func again(_ detail: String, _ status: CommandStatus = .notAuthenticated) -> CommandFailure {
    CommandFailure(
      status, detail,
      hint: (status == .serverFault ? "Try again in a moment, or log" : "Log")
        + " in again: aloft login --oidc --context \(name).")
  }
}
