import AloftModel
import ArgumentParser
import ControlPlane
import Testing

@testable import aloftd

@Suite("The file of issuers")
struct IssuerFileTests {
  private func parse(_ text: String) throws -> [IssuerSettings] { try IssuerFile.parse(text, path: "oidc.yaml") }

  @Test("an issuer needs name, URL and client id; everything else has a default")
  func defaults() throws {
    let issuer = try #require(
      try parse("issuers:\n- {name: corp, url: 'https://id.example', client-id: aloft}").first)
    #expect(issuer.audiences == ["aloft"] && issuer.algorithms == [.rs256, .es256])
    #expect(issuer.userClaim == "preferred_username" && issuer.rolesClaim == "groups" && issuer.rules.isEmpty)
    #expect(issuer.clientSecret == nil && issuer.caFile == nil && issuer.admission == .all)
    #expect(issuer.cliClientID == nil)
  }

  @Test("everything can be set")
  func everything() throws {
    let issuer = try #require(
      try parse(
        """
        issuers:
          - name: corp
            url: https://id.example
            client-id: aloft
            cli-client-id: aloft-cli
            audiences: [one, two]
            algorithms: [ES384]
            user-claim: email
            roles-claim: realm_access.roles
            roles:
              - { value: ops, cloud-role: operator }
              - { value: devs, project: shop, role: member }
            scopes: [openid, email]
            ca-file: /ca.pem
        """
      ).first)
    #expect(issuer.audiences == ["one", "two"] && issuer.algorithms == [.es384] && issuer.scopes == ["email"])
    #expect(issuer.userClaim == "email" && issuer.rolesClaim == "realm_access.roles" && issuer.caFile == "/ca.pem")
    #expect(
      issuer.rules == [
        ClaimRule(value: "ops", grant: .cloud(.operator)), ClaimRule(value: "devs", grant: .project("shop", .member)),
      ])
    #expect(issuer.admission == .mapped && issuer.cliClientID == "aloft-cli")
  }

  @Test(
    "what is wrong is told with its place",
    arguments: [
      ("issuers: 7", "'issuers' must be a list"), ("isuers: []", "there is no setting 'isuers'"),
      ("issuers: [{name: x, url: y}]", "issuers[0]: 'client-id' is missing"),
      ("issuers: [{name: x, url: y, client-id: z, algorithms: [HS256]}]", "algorithms has 'HS256'"),
      ("issuers: [{name: x, url: y, client-id: z, algorithms: [none]}]", "algorithms has 'none'"),
      ("issuers: [{name: x, url: y, client-id: z, secret: q}]", "there is no setting 'secret'"),
      ("issuers: [{name: x, url: y, client-id: z, roles: [{value: v}]}]", "roles[0] needs either cloud-role"),
      ("issuers: [{name: x, url: y, client-id: z, roles: [{value: v, cloud-role: root}]}]", "cloud-role has 'root'"),
      ("issuers: [{name: x, url: y, client-id: z, client-secret-file: /nowhere}]", "/nowhere cannot be read"),
      ("a: [", "is no YAML"),
    ])
  func faults(text: String, words: String) throws {
    let error = #expect(throws: ValidationError.self) { try parse(text) }
    #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
  }
}
