import AloftModel
import Foundation
import JSON
import Postgres
import PostgresTestSupport
import TestSupport
import Testing

@testable import ControlPlane

/// Deadlocks are resolved by repeating a transaction, so nobody sees them but as pauses: PostgreSQL's own count tells.
@Suite("Lock order")
struct LockOrderTests {
  /// Ends the plane's connections, so that all has been logged, and reads what PostgreSQL said of deadlocks.
  func expectNoDeadlock(_ test: TestPlane) async throws {
    let name = try #require(try await test.database.one("SELECT current_database()")?.get(0, as: String.self))
    await test.runtime.shutdown()
    await test.database.shutdown()
    let reports = try await PostgresServer.shared.deadlocks(database: name)
    #expect(reports.isEmpty, "\(reports.joined(separator: "\n"))")
  }

  @Test("changes of a pool, of its nodes and of what their agents find out never lock each other out")
  func poolsAndNodes() async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      var agents: [FakeAgent] = []
      for number in 0..<6 { agents.append(try await FakeAgent.join(test, "node-\(number)")) }
      let joined = agents
      let statuses = await withTaskGroup(of: Int.self) { group in
        for number in 0..<60 {
          let agent = joined[number % joined.count]
          group.addTask {
            let body: JSONValue = ["cpu_overcommit": .integer(Int64(number % 7 + 1))]
            return await test.call(.patch, "/v1/node-pools/default", body).status
          }
          group.addTask {
            let body: JSONValue = ["labels": ["n": .string("\(number)")], "pool": "default"]
            return await test.call(.patch, "/v1/nodes/\(agent.name)", body).status
          }
          group.addTask { (try? await agent.send(report: FakeAgent.report(vcpus: number + 1)).status) ?? 0 }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(statuses.allSatisfy { $0 == 200 }, "\(statuses)")
      #expect(try await test.findings() == [])
      try await expectNoDeadlock(test)
    }
  }

  @Test("logins, new passwords, ended sessions and changes of the user never lock each other out")
  func logins() async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      try await test.makePerson("ada")
      let body: JSONValue = ["password": .string(Browser.password("ada"))]
      let kinds: [@Sendable (Int) async -> Int] = [
        { number in await Browser.login(test, "ada", from: "192.0.2.\(number)").status },
        { number in
          let login = await Browser.login(test, "ada", from: "198.51.100.\(number)")
          guard login.status == 201, let browser = try? Browser(test, loggedIn: login) else { return login.status }
          _ = await browser.call(.get, "/v1/whoami")
          return await browser.call(.delete, "/v1/session").status
        },
        { _ in await test.call(.put, "/v1/users/ada/password", body).status },
        { number in await test.call(.patch, "/v1/users/ada", ["disabled": .bool(number % 3 == 0)]).status },
        { _ in
          try? await test.plane.stepTokens()
          try? await test.plane.stepJanitor()
          return 200
        },
      ]
      let statuses = await withTaskGroup(of: [Int].self) { group in
        for worker in 0..<2 {
          for kind in kinds {
            group.addTask {
              var statuses: [Int] = []
              for number in 0..<20 { statuses.append(await kind(worker * 20 + number)) }
              return statuses
            }
          }
        }
        return await group.reduce(into: []) { $0 += $1 }
      }
      // A login loses against a new password or a disabled user; nothing fails.
      #expect(statuses.allSatisfy { [200, 201, 204, 401].contains($0) }, "\(statuses)")
      try await expectNoDeadlock(test)
    }
  }

  @Test("creates that lose the race for nearly full nodes never lock each other out")
  func creates() async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      try await test.makeImage()
      for number in 0..<6 {
        _ = try await FakeAgent.join(test, "node-\(number)", report: FakeAgent.report(vcpus: 64, memoryMiB: 5 * 128))
      }
      let others = [test.plane, try test.replica(), try test.replica()]
      let answers = await withTaskGroup(of: Answer.self) { group in
        for number in 0..<90 {
          group.addTask {
            await test.call(.post, "/v1/vms", TestPlane.body("vm-\(number)"), on: others[number % others.count])
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count { $0.status == 202 } == 30)
      #expect(answers.count { $0.code == "no_capacity" } == 60)
      try await expectNoDeadlock(test)
    }
  }

  @Test(
    "webhooks are changed, deleted and go with projects while events become deliveries and are sent, and nothing locks")
  func webhooks() async throws {
    try await WebhookTarget.with(answer: { _, before in .init(status: before % 3 == 0 ? .badGateway : .ok) }) {
      target async throws in
      try await TestPlane.with(poolSize: 16, outgoing: .loopback) { test async throws in
        let second = try test.replica()
        let running = [test.plane, second].map { plane in Task { await plane.run() } }
        for project in 0..<4 {
          _ = await test.call(.post, "/v1/projects", ["name": .string("p\(project)")])
          for number in 0..<5 { try await test.makeWebhook("h\(number)", to: target.url, project: "p\(project)") }
        }
        let answers = await withTaskGroup(of: Answer.self) { group in
          for number in 0..<160 {
            let place = "?project=p\(number % 4)"
            let hook = "/v1/webhooks/h\(number % 5)"
            group.addTask {
              switch number % 8 {
              case 0, 1, 2: await test.call(.post, "/v1/images" + place, ["name": .string("i\(number)")])
              case 3: await test.call(.post, hook + "/ping" + place, on: second)
              case 4: await test.call(.patch, hook + place, ["enabled": .bool(number % 16 < 8)])
              case 5: await test.call(.post, hook + "/rotate-secret" + place, on: second)
              case 6 where number > 120: await test.call(.delete, hook + place)
              default: await test.call(.patch, hook + place, ["labels": ["n": .string("\(number)")]], on: second)
              }
            }
          }
          for project in 0..<2 {
            group.addTask { await test.call(.delete, "/v1/projects/p\(project)", on: second) }
          }
          return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.status < 500 }, "\(answers.filter { $0.status >= 500 })")
        for image in await test.call(.get, "/v1/images?project=p2")["items"]?.arrayValue ?? [] {
          _ = await test.call(.delete, "/v1/images/\(image["id"]?.stringValue ?? "")?project=p2")
        }
        #expect(await test.call(.delete, "/v1/projects/p2").status == 204)
        for task in running { task.cancel() }
        for task in running { await task.value }
        #expect(try await test.findings() == [])
        try await expectNoDeadlock(test)
      }
    }
  }

  @Test("changes of members, tokens and users, renames and deletions of projects never lock each other out")
  func projectsAndMembers() async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      let names = (0..<6).map { "name-\($0)" }
      for name in names {
        try await test.makeProjectRow(name)
        _ = try await test.makeToken(name: name)
      }
      let statuses = await withTaskGroup(of: Int.self) { group in
        for number in 0..<120 {
          let (project, user) = (names[number % 5], names[number % 6])
          let member = "/v1/projects/\(project)/members/\(user)"
          let role: JSONValue = ["role": number % 2 == 0 ? "admin" : "viewer"]
          group.addTask { await test.call(.put, member, role).status }
          group.addTask { await test.call(.patch, "/v1/projects/\(project)", ["name": .string(project)]).status }
          switch number % 12 {
          case 3: group.addTask { await test.call(.delete, member).status }
          case 7: group.addTask { await test.call(.delete, "/v1/projects/\(project)").status }
          case 8:
            group.addTask {
              (try? await test.makeToken([project: .member], limit: (project, .viewer))) == nil ? 404 : 200
            }
          case 11:
            group.addTask {
              let deleted = try? await test.database.execute("DELETE FROM users WHERE name = \(user)")
              return deleted == nil ? 0 : 200
            }
          default: break
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(statuses.allSatisfy { [200, 201, 204, 404].contains($0) }, "\(statuses)")
      try await expectNoDeadlock(test)
    }
  }

  @Test("tokens that are made and revoked while their users, members and projects change never lock each other out")
  func usersAndTokens() async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      let names = (0..<6).map { "name-\($0)" }
      var tokens: [APITokenID] = []
      for name in names {
        try await test.makeProjectRow(name)
        try await test.makeUser(name, cloudRole: .operator)
        for _ in 0..<4 { tokens.append(try await test.issue(["user": .string(name)]).id) }
      }
      let (made, other) = (tokens, try test.replica())
      let answers = await withTaskGroup(of: Answer?.self) { group in
        for number in 0..<120 {
          let (project, user) = (names[number % 5], names[number % 6])
          group.addTask {
            let body: JSONValue = ["user": .string(user), "project": .string(project), "role": "viewer"]
            return await test.call(.post, "/v1/tokens", body, on: number % 2 == 0 ? other : nil)
          }
          group.addTask {
            await test.call(.patch, "/v1/users/\(user)", ["cloud_role": number % 4 < 2 ? .null : "admin"])
          }
          group.addTask { await test.call(.put, "/v1/projects/\(project)/members/\(user)", ["role": "admin"]) }
          switch number % 8 {
          case 1: group.addTask { await test.call(.delete, "/v1/tokens/\(made[number % made.count])") }
          case 4: group.addTask { await test.call(.delete, "/v1/projects/\(project)") }
          case 6: group.addTask { await test.call(.delete, "/v1/users/\(user)", on: other) }
          case 7:
            group.addTask {
              try? await test.plane.stepTokens()
              try? await other.stepTokens()
              return nil
            }
          default: break
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      let odd = answers.compactMap(\.self).filter { ![200, 201, 204, 404].contains($0.status) }
      #expect(odd.isEmpty, "\(odd)")
      try await expectNoDeadlock(test)
    }
  }
}
