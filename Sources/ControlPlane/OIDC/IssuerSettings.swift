import AloftModel
import Foundation

/// The algorithms that an issuer may sign with (RFC 7518, RFC 8037): asymmetric ones only. `none` and the HMAC ones are not in
/// the list, so nothing can ask for them.
public enum SigningAlgorithm: String, Sendable, CaseIterable {
  case rs256 = "RS256"
  case rs384 = "RS384"
  case rs512 = "RS512"
  case ps256 = "PS256"
  case ps384 = "PS384"
  case ps512 = "PS512"
  case es256 = "ES256"
  case es384 = "ES384"
  case es512 = "ES512"
  case edDSA = "EdDSA"

  /// The `kty` of a key for it, and its `crv` where it has to be one.
  var key: (type: String, curve: String?) {
    switch self {
    case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: ("RSA", nil)
    case .es256: ("EC", "P-256")
    case .es384: ("EC", "P-384")
    case .es512: ("EC", "P-521")
    case .edDSA: ("OKP", "Ed25519")
    }
  }
}

/// What a value of a claim gives.
public struct ClaimRule: Sendable, Equatable {
  /// What is given.
  public enum Grant: Sendable, Equatable {
    case cloud(CloudRole)
    /// A role in the project that has this name.
    case project(String, ProjectRole)
  }

  /// The value that the claim has, or has in its list.
  public var value: String
  public var grant: Grant

  public init(value: String, grant: Grant) {
    self.value = value
    self.grant = grant
  }
}

/// An issuer of OpenID Connect that the operator trusts to say who somebody is.
public struct IssuerSettings: Sendable, Equatable {
  /// Who is taken in.
  public enum Admission: String, Sendable, CaseIterable {
    /// Everybody to whom the issuer gives a token for us.
    case all
    /// Who has a role by their claims, or is known already.
    case mapped
  }

  /// In paths: `/v1/login/oidc/{name}`.
  public var name: String
  /// As it stands in `iss`: an https URL, or http on loopback.
  public var url: String
  public var clientID: String
  /// Nil: a public client, protected by PKCE alone.
  public var clientSecret: String?
  /// The public client that `aloft login --oidc` logs in as, on the person's own machine (RFC 8252); nil: it cannot.
  public var cliClientID: String?
  /// One of them, or ``cliClientID``, must be in `aud` of bearer tokens. Default: the client id.
  public var audiences: [String]
  public var algorithms: [SigningAlgorithm]
  /// The claim that a new user is named after.
  public var userClaim: String
  /// The claim whose values give roles; dots go into objects.
  public var rolesClaim: String
  public var rules: [ClaimRule]
  public var admission: Admission
  /// What a login asks for besides `openid`.
  public var scopes: [String]
  /// A PEM file with the authorities that the issuer's certificate may come from; nil: the system's.
  public var caFile: String?

  public init(name: String, url: String, clientID: String) {
    (self.name, self.url, self.clientID) = (name, url, clientID)
    audiences = [clientID]
    algorithms = [.rs256, .es256]
    userClaim = "preferred_username"
    rolesClaim = "groups"
    rules = []
    admission = .mapped
    scopes = ["profile"]
  }

  /// What may stand in `aud` of bearer tokens.
  var acceptedAudiences: [String] { audiences + [cliClientID].compactMap(\.self) }

  /// The claim's values in a token's payload, without those that give nothing.
  func values(_ claims: Claims) -> [String] {
    let known = Set(rules.map(\.value))
    return claims.strings(rolesClaim).filter(known.contains)
  }

  /// What the values give. Evaluated anew whenever somebody calls, so a rule that is taken away gives nothing from the restart
  /// on.
  func grants(_ values: [String]) -> ClaimGrants {
    rules.filter { values.contains($0.value) }.reduce(into: ClaimGrants()) { $0.add($1.grant) }
  }

  /// Why this cannot be an issuer; nil when it can.
  var fault: String? {
    guard !name.isEmpty, name.utf8.count <= 63,
      name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
    else { return "the issuer's name \(name) is not made of 1 to 63 letters, digits and dashes" }
    guard let origin = IssuerURL(url) else {
      return "the issuer \(url) is no https URL (http is for loopback only)"
    }
    if origin.hasQuery { return "the issuer \(url) has a query or a fragment" }
    if clientID.isEmpty { return "the issuer \(url) has no client id" }
    if cliClientID?.isEmpty == true { return "the issuer \(url) has an empty client id for the command line" }
    if audiences.isEmpty { return "the issuer \(url) has no audience" }
    if algorithms.isEmpty { return "the issuer \(url) has no algorithm" }
    return nil
  }
}

/// What somebody may by what an issuer says of them: never written down as a membership.
struct ClaimGrants: Sendable, Equatable {
  var cloudRole: CloudRole?
  /// By the name of the project.
  var projects: [String: ProjectRole] = [:]

  var isEmpty: Bool { cloudRole == nil && projects.isEmpty }

  mutating func add(_ grant: ClaimRule.Grant) {
    switch grant {
    case .cloud(let role): cloudRole = [cloudRole, role].compactMap(\.self).max(by: CloudRole.isSmaller)
    case .project(let name, let role): projects[name] = max(projects[name] ?? role, role)
    }
  }
}

extension CloudRole {
  /// Each holds what those before it hold.
  static func isSmaller(_ a: CloudRole, than b: CloudRole) -> Bool {
    func rank(_ role: CloudRole) -> Int {
      switch role {
      case .auditor: 0
      case .operator: 1
      case .admin: 2
      }
    }
    return rank(a) < rank(b)
  }
}
