import AloftModel
import Foundation
import HTTPTypes
import JSON
import Testing

@testable import ControlPlane

@Suite("Images of other projects")
struct ImageSharingTests {
  /// Two projects, each with a member, and an image of the first one.
  private func with(_ body: (TestPlane, _ owner: [String: String], _ guest: [String: String]) async throws -> Void)
    async throws
  {
    try await TestPlane.with { test async throws in
      for name in ["owner", "guest"] { try await test.makeProjectRow(name) }
      let owner = TestPlane.bearer(try await test.makeToken(["owner": .member]))
      let guest = TestPlane.bearer(try await test.makeToken(["guest": .member]))
      let made = await test.call(.post, "/v1/images?project=owner", ["name": "tiny"], headers: owner)
      try #require(made.status == 201, "\(made)")
      let sent = await test.send(
        .put, "/v1/images/tiny/content?project=owner", bytes: [UInt8](repeating: 7, count: 1024),
        headers: owner.merging(["Content-Type": "application/octet-stream"]) { $1 })
      try #require(sent.status == 200, "\(sent)")
      try await body(test, owner, guest)
      #expect(try await test.findings() == [])
    }
  }

  private func id(_ test: TestPlane, of project: String) async throws -> String {
    let uuid: UUID = try #require(
      try await test.database.one("SELECT id FROM projects WHERE name = \(project)")?.get(0))
    return ProjectID(uuid).description
  }

  private func names(_ answer: Answer) -> [String] {
    (answer["items"]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
  }

  @Test("nobody sees a private image of another project, by name or id, in lists or to make something from")
  func isolation() async throws {
    try await with { test, owner, guest async throws in
      let id = try #require(await test.call(.get, "/v1/images/tiny?project=owner", headers: owner)["id"]?.stringValue)
      for reference in ["tiny", id] {
        for path in ["/v1/images/\(reference)", "/v1/images/\(reference)/content", "/v1/images/\(reference)/shares"] {
          #expect(await test.call(.get, path + "?project=guest", headers: guest).status == 404, "\(path)")
        }
        let volume = await test.call(
          .post, "/v1/volumes?project=guest", ["name": "v", "image": .string(reference)], headers: guest)
        #expect(volume.code == "image_unknown", "\(volume)")
      }
      #expect(names(await test.call(.get, "/v1/images?project=guest", headers: guest)) == [])
    }
  }

  @Test("a shared image is seen, used and downloaded where it is shared, changed nowhere else, and what was made stays")
  func sharing() async throws {
    try await with { test, owner, guest async throws in
      let project = try await id(test, of: "guest")
      let byName = await test.call(.put, "/v1/images/tiny/shares/guest?project=owner", headers: owner)
      #expect(byName.status == 404, "its name is nothing that the owner may find out: \(byName)")
      let shared = await test.call(.put, "/v1/images/tiny/shares/\(project)?project=owner", headers: owner)
      #expect(shared.status == 200 && shared["visibility"] == "shared", "\(shared)")
      let again = await test.call(.put, "/v1/images/tiny/shares/\(project)?project=owner", headers: owner)
      #expect(again.status == 200)
      let list = await test.call(.get, "/v1/images/tiny/shares?project=owner", headers: owner)
      #expect(list["items"]?[0]?["project_id"]?.stringValue == project && list["items"]?.arrayValue?.count == 1)

      #expect(names(await test.call(.get, "/v1/images?project=guest", headers: guest)) == ["tiny"])
      #expect(names(await test.call(.get, "/v1/images?project=guest&visibility=private", headers: guest)) == [])
      #expect(names(await test.call(.get, "/v1/images?project=guest&owner=guest", headers: guest)) == [])
      #expect(await test.call(.get, "/v1/images/tiny?project=guest", headers: guest).status == 200)
      #expect(await test.call(.get, "/v1/images/tiny/content?project=guest", headers: guest).status == 200)
      for (method, path, body) in [
        (HTTPRequest.Method.patch, "/v1/images/tiny", JSONValue.object(["labels": [:]])),
        (.delete, "/v1/images/tiny", nil),
        (.get, "/v1/images/tiny/shares", nil), (.delete, "/v1/images/tiny/content", nil),
      ] as [(HTTPRequest.Method, String, JSONValue?)] {
        let answer = await test.call(method, path + "?project=guest", body, headers: guest)
        #expect(answer.status == 403 && answer.code == "forbidden", "\(method) \(path): \(answer)")
      }
      _ = try await FakeAgent.join(test)
      let volume = await test.call(
        .post, "/v1/volumes?project=guest", ["name": "v", "image": "tiny"], headers: guest)
      #expect(volume.status == 202, "\(volume)")
      let vm = await test.call(.post, "/v1/vms?project=guest", TestPlane.body("web"), headers: guest)
      #expect(vm.status == 202 && vm["project_id"]?.stringValue == project, "\(vm)")

      let used = await test.call(.delete, "/v1/images/tiny?project=owner", headers: owner)
      #expect(used.code == "in_use" && used["detail"]?.stringValue?.contains("2 of other projects") == true, "\(used)")
      let unshared = await test.call(.delete, "/v1/images/tiny/shares/\(project)?project=owner", headers: owner)
      #expect(unshared.status == 200 && unshared["visibility"] == "private", "\(unshared)")
      #expect(await test.call(.get, "/v1/images/tiny?project=guest", headers: guest).status == 404)
      #expect(await test.call(.get, "/v1/volumes/v?project=guest", headers: guest).status == 200)
      let gone = await test.call(.delete, "/v1/images/tiny/shares/\(project)?project=owner", headers: owner)
      #expect(gone.status == 404)
    }
  }

  @Test("operators publish images, members do not; by name one's own goes first, and two of others are ambiguous")
  func publishing() async throws {
    try await with { test, owner, guest async throws in
      let refused = await test.call(.post, "/v1/images/tiny/publish?project=owner", headers: owner)
      #expect(refused.status == 403, "\(refused)")
      let op = TestPlane.bearer(try await test.makeToken(cloudRole: .operator))
      let published = await test.call(.post, "/v1/images/tiny/publish?project=owner", headers: op)
      #expect(published.status == 200 && published["visibility"] == "public", "\(published)")
      let first = try #require(published["id"]?.stringValue)
      #expect(await test.call(.get, "/v1/images/tiny?project=guest", headers: guest)["id"]?.stringValue == first)
      #expect(names(await test.call(.get, "/v1/images?project=guest&visibility=public", headers: guest)) == ["tiny"])

      try await test.makeImage()
      #expect(await test.call(.post, "/v1/images/tiny/publish").status == 200)
      let ambiguous = await test.call(.get, "/v1/images/tiny?project=guest", headers: guest)
      #expect(ambiguous.code == "image_unknown", "\(ambiguous)")
      #expect(await test.call(.get, "/v1/images/\(first)?project=guest", headers: guest).status == 200)
      let own = await test.call(.post, "/v1/images?project=guest", ["name": "tiny"], headers: guest)
      #expect(
        await test.call(.get, "/v1/images/tiny?project=guest", headers: guest)["id"]?.stringValue
          == own["id"]?.stringValue)
      let pages = await test.call(.get, "/v1/images?project=guest&limit=2", headers: guest)
      let cursor = try #require(pages["next_cursor"]?.stringValue)
      let rest = await test.call(.get, "/v1/images?project=guest&limit=2&cursor=\(cursor)", headers: guest)
      #expect((names(pages) + names(rest)).count == 3)
      #expect(await test.call(.post, "/v1/images/\(first)/unpublish?project=owner", headers: op).status == 200)
      #expect(await test.call(.get, "/v1/images/\(first)?project=guest", headers: guest).status == 404)
    }
  }

  @Test("what an image needs is asked for, a deprecated one is hidden and usable, and null takes both away")
  func properties() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let set = await test.call(
        .patch, "/v1/images/tiny",
        [
          "min_disk_gib": 4, "min_memory_mib": 512, "default_user": "debian", "firmware": "bios",
          "deprecated": ["message": "use debian-13"],
        ])
      #expect(set.status == 200 && set["deprecated"]?["message"] == "use debian-13", "\(set)")
      #expect(set["default_user"] == "debian" && set["firmware"] == "bios" && set["min_disk_gib"] == 4)
      let small = await test.call(.post, "/v1/vms", TestPlane.body("small"))
      #expect(small.code == "out_of_range" && small.place == "/disk_gib", "\(small)")
      let forgetful = await test.call(.post, "/v1/vms", TestPlane.body("small", ("disk_gib", 4)))
      #expect(forgetful.code == "out_of_range" && forgetful.place == "/memory_mib", "\(forgetful)")
      #expect(names(await test.call(.get, "/v1/images")) == [])
      #expect(names(await test.call(.get, "/v1/images?include_deprecated=true")) == ["tiny"])
      _ = try await FakeAgent.join(test)
      let fits = await test.call(.post, "/v1/vms", TestPlane.body("fits", ("disk_gib", 4), ("memory_mib", 512)))
      #expect(fits.status == 202, "\(fits)")
      #expect(await test.call(.patch, "/v1/images/tiny", ["firmware": "uefi"]).status == 200)
      let other = await test.call(.post, "/v1/vms", TestPlane.body("other", ("disk_gib", 4), ("memory_mib", 512)))
      #expect(other.code == "image_unsuitable" && other.place == "/image", "\(other)")
      let cleared = await test.call(
        .patch, "/v1/images/tiny", ["min_disk_gib": .null, "min_memory_mib": .null, "deprecated": .null])
      #expect(cleared["deprecated"] == .null && cleared["min_disk_gib"] == .null, "\(cleared)")
      #expect(cleared["default_user"] == "debian")
      #expect(names(await test.call(.get, "/v1/images")) == ["tiny"])
    }
  }

  @Test("a project whose images others have made volumes from waits for those before it goes")
  func removal() async throws {
    try await with { test, owner, guest async throws in
      let project = try await id(test, of: "guest")
      #expect(await test.call(.put, "/v1/images/tiny/shares/\(project)?project=owner", headers: owner).status == 200)
      let agent = try await FakeAgent.join(test)
      let vm = await test.call(.post, "/v1/vms?project=guest", TestPlane.body("web"), headers: guest)
      #expect(vm.status == 202, "\(vm)")
      #expect(await test.call(.delete, "/v1/projects/owner?cascade=true").status == 202)
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/owner")["state"] == "deleting")
      _ = await test.call(.delete, "/v1/vms/web?project=guest", headers: guest)
      try await agent.obey()
      try await test.settle()
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'project'")
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/owner").status == 404)
    }
  }
}
