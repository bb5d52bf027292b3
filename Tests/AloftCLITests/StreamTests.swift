import Foundation
import JSON
import Testing

@testable import AloftCLI

/// What streams: uploads, the serial log and events.
@Suite struct StreamTests {
  @Test("an upload announces the digest, sends every byte and shows how far it is")
  func upload() async throws {
    let server = try await CannedServer()
    let folder = try TemporaryFolder()
    let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let file = try folder.file("disk.img", bytes)
    let outcome = await server.aloft("image", "upload", "tiny", file, "--label", "a=b", "-o", "json")
    #expect(outcome.status == .success)
    let requests = try await server.requests()
    let digest = try #require(requests[0]["body"]?["sha256"]?.stringValue)
    #expect(requests[0]["body"]?["labels"] == ["a": "b"])
    #expect(requests[1]["method"] == "PUT")
    #expect(requests[1]["path"] == "/v1/images/img_tiny/content")
    #expect(requests[1]["size"] == 3_000_000)
    // The server computed it anew from what it received.
    #expect(try JSONValue.parse(outcome.output)["sha256"]?.stringValue == digest)
    #expect(outcome.errors.contains("tiny: computing SHA-256: 100% of 2.9 MiB\n"))
    #expect(outcome.errors.contains("tiny: uploading: 100% of 2.9 MiB\n"))
  }

  @Test("on a terminal an upload shows a bar")
  func bar() async throws {
    let server = try await CannedServer()
    let file = try TemporaryFile(Array(repeating: 7, count: 100_000))
    let outcome = await server.aloft("image", "upload", "tiny", file.path, terminal: true)
    #expect(outcome.errors.contains("tiny: uploading [####################] 100% 97.7 KiB of 97.7 KiB"))
  }

  @Test("an upload that breaks off goes on where the server says, by itself")
  func resumedUpload() async throws {
    let server = try await CannedServer()
    let file = try TemporaryFile([1, 2, 3, 4, 5])
    let outcome = await server.aloft("image", "upload", "resumes", file.path)
    #expect(outcome.status == .success, "\(outcome.errors)")
    let requests = try await server.requests().filter { $0["path"] == "/v1/images/img_resumes/content" }
    #expect(requests.map { $0["method"]?.stringValue } == ["PUT", "HEAD", "PATCH"])
    #expect(requests.last?["headers"]?["upload-offset"] == "2")
    #expect(requests.last?["headers"]?["upload-complete"] == "?1")
    #expect(requests.last?["size"] == 3)
  }

  @Test(
    "an upload that breaks off again and again says that what arrived is kept, and the same command asks where to go on"
  )
  func brokenUpload() async throws {
    let server = try await CannedServer()
    let file = try TemporaryFile([1, 2, 3])
    for _ in 1...2 {
      let outcome = await server.aloft("image", "upload", "breaks", file.path)
      #expect(outcome.status == .serverFault)
      #expect(
        outcome.errors.contains("What has arrived is kept. `aloft image upload breaks \(file.path)` goes on there."))
    }
    let contents = try await server.requests().filter { $0["path"] == "/v1/images/img_breaks/content" }
    #expect(contents.filter { $0["method"] == "PUT" }.count == 1)
    #expect(contents.filter { $0["method"] == "PATCH" }.count > 2)
  }

  @Test("an image that has this content already is not uploaded again, one with other content is in the way")
  func alreadyThere() async throws {
    let server = try await CannedServer()
    let file = try TemporaryFile([1, 2, 3])
    let there = await server.aloft("image", "upload", "ready", file.path, "-o", "name")
    #expect(there.status == .success)
    #expect(there.output == "ready\n")
    #expect(try await server.requests().contains { $0["method"] == "PUT" } == false)
    _ = await server.aloft("image", "create", "other", "--sha256", "00")
    let other = await server.aloft("image", "upload", "other", file.path)
    #expect(other.status == .refused)
    #expect(other.errors.contains("the name is taken"))
  }

  @Test("a file that cannot be uploaded is told before anything is sent")
  func noFile() async throws {
    let server = try await CannedServer()
    let missing = await server.aloft("image", "upload", "x", "/nowhere/disk")
    #expect(missing.status == .usage)
    #expect(await server.aloft("image", "upload", "x", "/dev").status == .usage)
    #expect(try await server.requests().isEmpty)
  }

  @Test("the serial log comes byte for byte, from an offset or the end")
  func serialLog() async throws {
    let server = try await CannedServer()
    let whole = MemorySink()
    _ = await server.run(["vm", "serial-log", "w"], output: whole)
    #expect(whole.bytes == Array("login: ".utf8) + [0xff, 0x1b] + Array("[0m welcome\n".utf8))
    #expect(await server.aloft("vm", "serial-log", "w", "--tail", "9").output == " welcome\n")
    let query = try await server.requests().last?["query"]
    #expect(query == ["offset": "-9"])
  }

  @Test("following the serial log goes on where a lost connection stopped")
  func serialLogResumes() async throws {
    let server = try await CannedServer()
    let whole = MemorySink()
    let outcome = await server.run(["vm", "serial-log", "w", "--follow"], output: whole)
    #expect(outcome.status == .success)
    #expect(whole.bytes.count == 21)
    #expect(try await server.requests().last?["query"] == ["follow": "true", "offset": "5"])
  }

  @Test("watching events goes on behind the last one when the connection is lost")
  func watchResumes() async throws {
    let server = try await CannedServer()
    let (seen, signal) = AsyncStream.makeStream(of: Void.self)
    let output = MemorySink { text in if text.contains("vm_3") { signal.finish() } }
    let watch = Task { await server.run(["event", "watch", "-o", "json"], output: output) }
    for await _ in seen {}
    watch.cancel()
    let outcome = await watch.value
    #expect(outcome.status == .interrupted)
    let lines = outcome.output.split(separator: "\n").map { try? JSONValue.parse(String($0)) }
    #expect(lines.map { $0?["cursor"] } == ["1", "2", "3"])
    let requests = try await server.requests().filter { $0["path"] == "/v1/events" }
    #expect(requests.map { $0["headers"]?["last-event-id"] } == [nil, "2"])
    #expect(outcome.errors.contains("connecting again"))
  }

  @Test("watching without following ends with what there is")
  func watchEnds() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("event", "watch", "--since", "1", "--no-follow", "-o", "name")
    #expect(outcome.status == .success)
    #expect(outcome.output == "vm_2\nvm_3\n")
    _ = await server.aloft("event", "watch", "--from-start", "--no-follow")
    let requests = try await server.requests()
    #expect(requests.last?["headers"]?["last-event-id"] == "0")
    let refused = await server.aloft("event", "watch", environment: ["ALOFT_TOKEN": "wrong"])
    #expect(refused.status == .notAuthenticated)
  }
}

/// One file that goes away with the test.
struct TemporaryFile {
  private let folder: TemporaryFolder
  let path: String

  init(_ bytes: [UInt8]) throws {
    folder = try TemporaryFolder()
    path = try folder.file("disk.img", bytes)
  }
}
