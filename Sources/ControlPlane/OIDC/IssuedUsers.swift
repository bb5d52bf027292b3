import AloftModel
import Foundation
import Postgres

/// The users that issuers tell us of.
///
/// Invariants:
/// - A user is found by issuer and subject and by nothing else: who can choose a name at an issuer cannot become somebody here.
/// - What claims give is never written down: it is evaluated for each call, beside what the database gives the user.
/// - Who is not to be taken in leaves no row.
struct IssuedUsers: Sendable {
  let issuers: Issuers
  let database: Database
  let environment: Environment

  /// Who sends a bearer token of an issuer.
  func caller(bearer text: String) async throws -> KnownCaller {
    let assertion = try await issuers.verify(bearer: text)
    guard let settings = issuers.settings(of: assertion.issuer) else { throw KnownCaller.unknown }
    let claimed = settings.grants(assertion.values)
    let query = KnownCaller.userQuery(Self.condition(assertion), projects: claimed.projects.keys.sorted())
    var row = try await database.query(query).first
    if row == nil {
      _ = try await user(of: assertion)
      row = try await database.query(query).first
    }
    guard let row else { throw KnownCaller.unknown }
    return try KnownCaller(
      assertedBy: row, claimed: claimed, expiresAt: assertion.expiresAt, seal: Secret.hash("seal:" + text))
  }

  private static func condition(_ assertion: Assertion) -> SQL {
    """
    a.id = (SELECT user_id FROM user_identities WHERE issuer = \(assertion.issuer) AND subject = \(assertion.subject))
    """
  }

  /// The user that an issuer speaks of; made when there is none. Throws the ``Problem`` of somebody who is not taken in.
  func user(of assertion: Assertion) async throws -> UserID {
    guard let settings = issuers.settings(of: assertion.issuer) else { throw KnownCaller.unknown }
    if let known = try await database.run({ session in try Self.find(assertion, in: session) }) { return known }
    guard settings.admission == .all || !settings.grants(assertion.values).isEmpty else {
      throw Problem(
        .forbidden,
        "the issuer \(settings.name) says who you are, but nothing in \(settings.rolesClaim) gives you a role here; ask an admin of the cloud"
      )
    }
    let id = UserID(environment.newUUID())
    return try await database.transaction { session in
      try UserStore.lockAll(in: session)
      if let known = try Self.find(assertion, in: session) { return known }
      let name = try Self.freeName(assertion, settings, in: session)
      try UserStore.insert(id, name: name, kind: .person, cloudRole: nil, disabled: false, in: session)
      try session.execute(
        """
        INSERT INTO user_identities (issuer, subject, user_id)
        VALUES (\(assertion.issuer), \(assertion.subject), \(id))
        """)
      try session.execute(
        """
        INSERT INTO audit (actor, user_name, peer, request_id, operation, resource_id)
        VALUES (\("oidc:" + settings.name), \(name), '', '', 'createUser', \(id))
        """)
      try EventStore.append(.userCreated, project: nil, resource: id.uuid, data: ["name": name], in: session)
      return id
    }
  }

  private static func find(_ assertion: Assertion, in session: Session) throws -> UserID? {
    try session.one(
      """
      SELECT user_id FROM user_identities WHERE issuer = \(assertion.issuer) AND subject = \(assertion.subject)
      """)?.get(0)
  }

  /// A name for a new user. Where somebody has it, it gets an end that only this subject has.
  private static func freeName(
    _ assertion: Assertion, _ settings: IssuerSettings, in session: Session
  ) throws -> String {
    let digest = Secret.hash(assertion.issuer + "\n" + assertion.subject)
    let end = digest.prefix(5).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    let wanted = assertion.userName.flatMap { Self.name(from: $0) }
    if let wanted, try UserStore.find(wanted, in: session) == nil { return wanted }
    return "\((wanted ?? "oidc").prefix(50))-\(end)"
  }

  /// What a claim becomes as a ``Name`` of the contract: `Ada.Lovelace@example.org` is `ada-lovelace`.
  static func name(from claim: String) -> String? {
    let local = claim.prefix { $0 != "@" }.lowercased()
    var name = ""
    for character in local.unicodeScalars.prefix(200) {
      let isFit = ("a"..."z").contains(character) || ("0"..."9").contains(character)
      if isFit { name.unicodeScalars.append(character) } else if !name.isEmpty, name.last != "-" { name += "-" }
    }
    name = String(name.drop { !$0.isLetter }.prefix(63))
    while name.last == "-" { name.removeLast() }
    return name.isEmpty ? nil : name
  }
}
