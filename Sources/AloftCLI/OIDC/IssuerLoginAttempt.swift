import JSON

/// `aloft login --oidc`: finds the issuer, sends the browser there, and waits for it to come back with a code.
struct IssuerLoginAttempt: Sendable {
  static let patience = Duration.seconds(300)

  let cloud: LoginAttempt
  /// Nil: the only one there is.
  let name: String?
  let caCert: String?

  private struct Offer {
    var name: String
    var issuer: String
    var clientID: String
    var scopes: [String]
  }

  /// The id token, and how it is renewed.
  func tokens() async throws(CommandFailure) -> (token: String, login: IssuerLogin) {
    let offer = try await offer()
    let client = try await IssuerClient(issuer: offer.issuer, caCert: caCert, logger: cloud.logger)
    defer { client.close() }
    let endpoints = try await client.endpoints()
    let listener = try CallbackListener()
    let request = CodeRequest(
      clientID: offer.clientID, redirectURI: "http://127.0.0.1:\(listener.port)\(CallbackRule.path)",
      scopes: offer.scopes, random: cloud.surroundings.randomBytes)
    let url = request.url(at: endpoints.authorization)
    await cloud.surroundings.say("Log in at \(offer.issuer) for \(cloud.url), with a browser on this machine:")
    await cloud.surroundings.say(url)
    await cloud.surroundings.openPage(url)
    let code = try await listener.code(
      by: CallbackRule(state: request.state, issuer: offer.issuer), within: Self.patience,
      uptime: cloud.surroundings.uptime)
    let answer = try await client.tokens(for: request.exchange(code), at: endpoints.token)
    guard let token = answer.idToken.flatMap(IDToken.init) else {
      throw CommandFailure(.serverFault, "the issuer \(offer.issuer) gave no id token")
    }
    if let fault = token.fault(issuer: offer.issuer, clientID: offer.clientID, nonce: request.nonce) {
      throw CommandFailure(.notAuthenticated, "the id token of \(offer.issuer) is not taken: \(fault)")
    }
    return (
      token.text,
      IssuerLogin(
        issuer: offer.issuer, clientID: offer.clientID, tokenEndpoint: endpoints.token,
        refreshToken: answer.refreshToken, caCert: caCert)
    )
  }

  private func offer() async throws(CommandFailure) -> Offer {
    let api = cloud.anonymous
    defer { api.client.close() }
    let answer = try await api.send(APICall(.get, APIPath.path("login", "oidc")))
    let offers = (answer.json["items"]?.arrayValue ?? []).compactMap { item -> Offer? in
      guard let name = item["name"]?.stringValue, let issuer = item["issuer"]?.stringValue,
        let client = item["cli_client_id"]?.stringValue
      else { return nil }
      return Offer(
        name: name, issuer: issuer, clientID: client,
        scopes: item["scopes"]?.arrayValue?.compactMap(\.stringValue) ?? ["openid"])
    }
    let names = offers.map(\.name).joined(separator: ", ")
    if offers.isEmpty {
      throw CommandFailure(
        .usage, "\(cloud.url) has no issuer that the command line can log in at",
        hint: "The operator of the cloud sets cli-client-id for one; or log in with a password: aloft login.")
    }
    if let name {
      if let offer = offers.first(where: { $0.name == name }) { return offer }
      throw CommandFailure(.usage, "the command line cannot log in at an issuer \(name)", hint: "There is: \(names).")
    }
    guard offers.count == 1 else {
      throw CommandFailure(.usage, "there are several issuers: \(names)", hint: "Name one: aloft login --oidc NAME.")
    }
    return offers[0]
  }
}
