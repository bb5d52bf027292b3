import ArgumentParser
import HTTPTypes
import JSON

/// `aloft login`
struct Login: LocalCommand {
  static let configuration = CommandConfiguration(
    abstract: "Log in to a cloud, and remember it.",
    discussion: """
      Asks for the password, logs in, makes an API token for this machine, logs out again and remembers the token in \
      ~/.config/aloft/config.yaml, which nobody else can read. With --token it remembers a token that you have.

      With --oidc it logs in at an issuer of OpenID Connect: it prints the address of a page to visit with a browser on \
      this machine, waits five minutes at most for it to come back, and remembers the issuer's token instead. Later \
      commands renew that by themselves where the issuer allows it; where it does not, log in again when it has ended.
      """)

  @Option(help: ArgumentHelp("Who you are. Asked for when it is not given.", valueName: "name"))
  var user: String?

  @Option(help: ArgumentHelp("A file with the password; - is standard input.", valueName: "file"), completion: .file())
  var passwordFile: String?

  @Flag(help: "Remember a token that you have: asks for it, or reads --token-file.")
  var token = false

  @Option(
    defaultAsFlag: "",
    help: ArgumentHelp("Log in at an issuer; its name can be left out where there is one.", valueName: "issuer"))
  var oidc: String?

  @Option(
    help: ArgumentHelp("The authority of the issuer's certificate, in PEM.", valueName: "file"), completion: .file())
  var issuerCaCert: String?

  @Option(
    help: ArgumentHelp("For how long the token is good: 24h, 90d. An issuer decides by itself.", valueName: "time"))
  var ttl = TimeSpan(seconds: 90 * 86_400)

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if token, user != nil || passwordFile != nil { throw ValidationError("--token needs neither user nor password") }
    if oidc != nil, token || user != nil || passwordFile != nil || common.tokenFile != nil {
      throw ValidationError("--oidc needs neither user nor password nor token: the issuer asks for them")
    }
    if issuerCaCert != nil, oidc == nil { throw ValidationError("--issuer-ca-cert is for --oidc") }
  }

  func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
    let file = try ConfigFile.require(surroundings.environment)
    let clouds = try await file.read()
    let environment = surroundings.environment.filter { !$0.value.isEmpty }
    let wanted = common.context ?? environment["ALOFT_CONTEXT"]
    let before = (wanted ?? clouds.current).flatMap { clouds.contexts[$0] }
    let url = try ServerAddress.normal(
      common.url ?? (common.context == nil ? nil : before?.url) ?? environment["ALOFT_URL"] ?? before?.url
        ?? ServerAddress.defaultURL)
    let authority = common.caCert ?? environment["ALOFT_CA_CERT"] ?? (before?.url == url ? before?.caCert : nil)
    let known = ([clouds.current].compactMap(\.self) + clouds.contexts.keys.sorted())
    let name = wanted ?? known.first { clouds.contexts[$0]?.url == url } ?? Self.name(of: url)
    let old = clouds.contexts[name].flatMap { $0.url == url ? $0 : nil }

    let login = LoginAttempt(
      url: url, trustRoots: try await ServerAddress.roots(authority), surroundings: surroundings,
      logger: Session.logger(common))
    if login.anonymous.address.sendsTokenInClear {
      throw CommandFailure(.usage, "\(url) would send what you type in clear text", hint: "Use https://.")
    }
    var context = CloudContext(url: url, caCert: authority.map(Self.absolute), project: old?.project)
    if token {
      context.token = try await givenToken(surroundings)
    } else if let oidc {
      let issuer = IssuerLoginAttempt(
        cloud: login, name: oidc.isEmpty ? nil : oidc, caCert: issuerCaCert.map(Self.absolute) ?? old?.oidc?.caCert)
      (context.token, context.oidc) = try await issuer.tokens()
    } else {
      let (name, password) = try await typed(surroundings)
      context.token = try await login.makeToken(user: name, password: password, seconds: ttl.seconds)
    }
    let who = try await login.whoami(context.token ?? "")
    context.user = who["user"]?["name"]?.stringValue
    // An issuer's token is none of the cloud's: it has no id here and cannot be revoked here.
    if context.oidc == nil { context.tokenID = who["token_id"]?.stringValue }
    do throws(CommandFailure) {
      let made = context
      // As it is now: the login may have taken minutes.
      try await file.update(surroundings) { clouds async throws(CommandFailure) in
        clouds.contexts[name] = made
        clouds.current = name
      }
    } catch {
      if !token { await login.revoke(context) }
      throw error
    }
    if let old, old.token != context.token, !token { await login.revoke(old) }
    await surroundings.say("logged in to \(url) as \(context.user ?? "?"); the context is \(name)")
  }

  private func givenToken(_ surroundings: Surroundings) async throws(CommandFailure) -> String {
    let text: String
    if let path = common.tokenFile {
      text = try await ServerAddress.read(tokenFile: path)
    } else {
      guard let typed = await surroundings.ask("Token: ", true) else {
        throw CommandFailure(.usage, "there is nobody to ask for the token", hint: "Name its file by --token-file.")
      }
      text = typed.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
    try ServerAddress.check(token: text)
    guard !text.isEmpty else { throw CommandFailure(.usage, "no token was given") }
    return text
  }

  private func typed(_ surroundings: Surroundings) async throws(CommandFailure) -> (user: String, password: String) {
    let nobody = CommandFailure(
      .usage, "there is nobody to ask for user and password", hint: "Give --user and --password-file, or --token.")
    var name = user
    if name == nil { name = await surroundings.ask("User: ", false) }
    guard let name else { throw nobody }
    if let passwordFile { return (name, try await PasswordFile.read(passwordFile)) }
    guard let password = await surroundings.ask("Password: ", true) else { throw nobody }
    return (name, password)
  }

  /// What a context is called that nobody has named: its host.
  static func name(of url: String) -> String {
    let authority = url.drop { $0 != "/" }.dropFirst(2).prefix { $0 != "/" }
    return String(authority.prefix { $0 != ":" || authority.hasPrefix("[") })
  }

  private static func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : LocalFile(path: path).absolutePath
  }
}

/// `aloft logout`
struct Logout: LocalCommand {
  static let configuration = CommandConfiguration(
    abstract: "Revoke the token that is remembered, and forget it.",
    discussion: """
      The cloud stays in the list of contexts. What an issuer of OpenID Connect gave is forgotten only: nothing is \
      revoked at the issuer, and its token stays good until it ends.
      """)

  @OptionGroup var common: CommonOptions

  func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
    let file = try ConfigFile.require(surroundings.environment)
    let clouds = try await file.read()
    let named = common.context ?? surroundings.environment["ALOFT_CONTEXT"].flatMap { $0.isEmpty ? nil : $0 }
    guard let name = named ?? clouds.current else {
      throw CommandFailure(.usage, "you are not logged in to any cloud")
    }
    guard let context = clouds.contexts[name] else { throw clouds.absent(name) }
    guard context.token != nil else { throw CommandFailure(.usage, "you are not logged in to \(name)") }
    let login = LoginAttempt(
      url: context.url, trustRoots: try await ServerAddress.roots(context.caCert), surroundings: surroundings,
      logger: Session.logger(common))
    try await login.requireRevoked(context)
    try await file.update(surroundings) { clouds async throws(CommandFailure) in
      clouds.contexts[name]?.token = nil
      clouds.contexts[name]?.tokenID = nil
      clouds.contexts[name]?.oidc = nil
    }
    let note = context.oidc.map { "; nothing was revoked at \($0.issuer)" } ?? ""
    await surroundings.say("logged out of \(context.url)\(note)")
  }
}
