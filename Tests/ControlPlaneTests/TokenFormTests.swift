import AloftModel
import Foundation
import Postgres
import Testing

@testable import ControlPlane

@Suite("The form of tokens")
struct TokenFormTests {
  @Test("the checksum is the CRC-32 that zlib computes")
  func checksum() {
    #expect(CRC32.of(Array("123456789".utf8)) == 0xCBF4_3926)
    #expect(CRC32.of([]) == 0)
    #expect(CRC32.of(Array(String(repeating: "0", count: 64).utf8)) == 0x34B1_E4CB)
  }

  @Test("a token is good as it was made, and one from before the checksum too; no slip of the hand is")
  func slips() throws {
    let secret = TokenSecret.make(.live)
    #expect(secret.wholeMatch(of: #/aloft_[0-9a-f]{72}/#) != nil)
    try TokenSecret.check(secret)
    try TokenSecret.check(String(secret.dropLast(8)))
    func isRefused(_ text: String) -> Bool {
      do throws(Problem) {
        try TokenSecret.check(text)
        return false
      } catch {
        return error.code == .tokenInvalid && !error.detail.contains(secret.suffix(8))
      }
    }
    for length in 0..<secret.count where length != 70 { #expect(isRefused(String(secret.prefix(length))), "\(length)") }
    let digits = Array(secret)
    for place in 6..<digits.count {
      var wrong = digits
      wrong[place] = wrong[place] == "0" ? "1" : "0"
      #expect(isRefused(String(wrong)), "\(place)")
      var swapped = digits
      if place + 1 < digits.count, digits[place] != digits[place + 1] {
        swapped.swapAt(place, place + 1)
        #expect(isRefused(String(swapped)), "\(place)")
      }
    }
    for text in [secret.uppercased(), secret + "0", " " + secret, "aloftjoin_" + secret.dropFirst(6), "", "aloft_é"] {
      #expect(isRefused(text), "\(text.count)")
    }
  }

  @Test("what nobody can have made is refused without asking the database")
  func withoutDatabase() async throws {
    let database = try Database(
      configuration: DatabaseConfiguration(
        url: "postgresql:///none?host=/nonexistent", poolSize: 1, poolTimeout: .milliseconds(1)), logger: quiet)
    let cache = TokenCache(database: database, environment: .live, logger: quiet)
    let secret = TokenSecret.make(.live)
    for text in [
      String(secret.dropLast()), secret + "00", "aloft_0000", "ghp_0000", "aloft_" + String(repeating: "z", count: 72),
    ] {
      let problem = await #expect(throws: Problem.self) {
        try await cache.authenticate(Credentials(authorization: "Bearer \(text)"))
      }
      #expect(problem?.code == .tokenInvalid)
    }
    await #expect(throws: PostgresError.self) {
      try await cache.authenticate(Credentials(authorization: "Bearer \(secret)"))
    }
    await database.shutdown()
  }

  @Test("a token allows no more than the one that makes it, acts for nobody else, and ends no later")
  func rules() throws {
    let (own, other, home, away) = (UserID(UUID()), UserID(UUID()), ProjectID(UUID()), ProjectID(UUID()))
    let now = Date(timeIntervalSince1970: 1_000_000)
    func grant(_ project: ProjectID, _ role: ProjectRole) -> Principal.Grant {
      Principal.Grant(project: project, name: "p", role: role)
    }
    func place(
      _ user: UserID, _ limit: Principal.Grant? = nil, seconds: Int? = nil, role: CloudRole? = nil,
      maker: Principal.Grant? = nil, rest: Double? = nil
    ) -> String? {
      var principal = Principal(
        means: .token(APITokenID(UUID())), user: own, userName: "ada", seal: [], cloudRole: role,
        memberships: [grant(home, .admin)], limit: maker)
      principal.expiresAt = rest.map { now.addingTimeInterval($0) }
      let token = NewToken(description: "", user: user, limit: limit, seconds: seconds)
      return token.refusal(for: principal, at: now)?.errors?.first?.pointer
    }
    #expect(place(own) == nil)
    #expect(place(own, grant(home, .admin)) == nil)
    #expect(place(other) == "/user")
    for role in [CloudRole.auditor, .operator] { #expect(place(other, role: role) == "/user") }
    #expect(place(other, role: .admin) == nil)
    let member = grant(home, .member)
    #expect(place(own, maker: member) == "/project")
    #expect(place(own, grant(away, .viewer), maker: member) == "/project")
    #expect(place(own, grant(home, .admin), maker: member) == "/role")
    for role in [ProjectRole.viewer, .member] { #expect(place(own, grant(home, role), maker: member) == nil) }
    #expect(place(other, member, role: .admin, maker: member) == "/user")
    #expect(place(own, rest: 60) == "/ttl_seconds")
    #expect(place(own, seconds: 61, rest: 60) == "/ttl_seconds")
    #expect(place(own, seconds: 60, rest: 59.9) == "/ttl_seconds")
    #expect(place(own, seconds: 60, rest: 60) == nil)
    #expect(place(other, seconds: 90, role: .admin, rest: 60) == "/ttl_seconds")
  }
}
