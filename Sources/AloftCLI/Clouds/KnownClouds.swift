import JSON
import Yams

/// A cloud that somebody has logged in to.
struct CloudContext: Sendable, Equatable {
  /// Without a trailing slash.
  var url: String
  var caCert: String?
  var project: String?
  var user: String?
  var token: String?
  var tokenID: String?
  /// Set where the token is an issuer's.
  var oidc: IssuerLogin?
}

/// The clouds that `aloft login` remembers, and which of them is meant when none is named.
struct KnownClouds: Sendable, Equatable {
  var current: String?
  var contexts: [String: CloudContext] = [:]

  /// The context that is meant: by the flag, by the environment, or the current one. Nil when there is none.
  static func context(_ options: CommonOptions, _ surroundings: Surroundings) async throws(CommandFailure)
    -> (name: String, context: CloudContext)?
  {
    let named = options.context ?? surroundings.environment["ALOFT_CONTEXT"].flatMap { $0.isEmpty ? nil : $0 }
    guard let file = ConfigFile(surroundings.environment) else {
      if let named { throw Self().absent(named) }
      return nil
    }
    let clouds = try await file.read()
    guard let name = named ?? clouds.current else { return nil }
    guard let context = clouds.contexts[name] else { throw clouds.absent(name) }
    return (name, context)
  }

  func absent(_ name: String) -> CommandFailure {
    let names = contexts.keys.sorted().joined(separator: ", ")
    return CommandFailure(
      .usage, "there is no context \(name)",
      hint: names.isEmpty ? "aloft login makes one." : "There are \(names); aloft login makes another.")
  }

  /// Throws what is wrong with the text, in words.
  init(yaml text: String, path: String) throws(CommandFailure) {
    func refuse(_ what: String) -> CommandFailure {
      CommandFailure(.usage, "\(path): \(what)", hint: "Mend it, or move it away and log in anew.")
    }
    let value: Any?
    do { value = try Yams.load(yaml: text) } catch { throw refuse("it is no YAML") }
    guard let map = (value ?? [String: Any]()) as? [String: Any] else { throw refuse("it must be a map") }
    current = map["current"] as? String
    guard let list = (map["contexts"] ?? [String: Any]()) as? [String: Any] else {
      throw refuse("'contexts' must be a map")
    }
    for (name, value) in list {
      guard let members = value as? [String: Any], let url = members["url"] as? String else {
        throw refuse("the context \(name) has no url")
      }
      contexts[name] = CloudContext(
        url: try ServerAddress.normal(url), caCert: members["ca-cert"] as? String,
        project: members["project"] as? String, user: members["user"] as? String, token: members["token"] as? String,
        tokenID: members["token-id"] as? String, oidc: (members["oidc"] as? [String: Any]).flatMap(IssuerLogin.init))
    }
  }

  init() {}

  func yaml() throws(CommandFailure) -> String {
    var object = JSONObject()
    object["current"] = current.map { .string($0) }
    var list = JSONObject()
    for (name, context) in contexts.sorted(by: { $0.key < $1.key }) {
      var members: JSONObject = ["url": .string(context.url)]
      members["ca-cert"] = context.caCert.map { .string($0) }
      members["project"] = context.project.map { .string($0) }
      members["user"] = context.user.map { .string($0) }
      members["token"] = context.token.map { .string($0) }
      members["token-id"] = context.tokenID.map { .string($0) }
      members["oidc"] = context.oidc?.yaml
      list[name] = .object(members)
    }
    object["contexts"] = .object(list)
    return "# Made by aloft login. It holds tokens: nobody else may read it.\n" + (try YAMLText.text(.object(object)))
  }
}

extension IssuerLogin {
  /// Nil where the file lacks a part: then the token is like one that somebody has brought.
  fileprivate init?(_ members: [String: Any]) {
    guard let issuer = members["issuer"] as? String, let clientID = members["client-id"] as? String,
      let tokenEndpoint = members["token-endpoint"] as? String
    else { return nil }
    self.init(
      issuer: issuer, clientID: clientID, tokenEndpoint: tokenEndpoint,
      refreshToken: members["refresh-token"] as? String, caCert: members["ca-cert"] as? String)
  }

  fileprivate var yaml: JSONValue {
    var members: JSONObject = [
      "issuer": .string(issuer), "client-id": .string(clientID), "token-endpoint": .string(tokenEndpoint),
    ]
    members["refresh-token"] = refreshToken.map { .string($0) }
    members["ca-cert"] = caCert.map { .string($0) }
    return .object(members)
  }
}
