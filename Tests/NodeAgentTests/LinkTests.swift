import AloftModel
import Crypto
import Foundation
import HTTPClient
import JSON
import Testing

@testable import NodeAgent

@Suite("Link over HTTP")
struct LinkTests {
  let server: HTTPServerProcess
  let link: HTTPControlPlaneLink

  init() async throws {
    server = try await HTTPServerProcess.start()
    link = Self.link([server.url])
  }

  static func link(_ urls: [String]) -> HTTPControlPlaneLink {
    HTTPControlPlaneLink(urls: urls, client: { HTTPClient(logger: quietLogger) }, logger: quietLogger)
  }

  @Test("documents are asked for behind a revision and read")
  func assignments() async throws {
    let answer = Assignments(revision: 7, documents: [.sample()])
    try server.answer("assignments", 200, JSONCoder.encode(answer))
    let got = try await link.assignments(after: 3, waitSeconds: 0)
    #expect(got.revision == 7 && got.documents == [.sample()])
    #expect(try server.got("assignments").line == "GET /agent/v1/assignments?after=3&wait=0")
  }

  @Test("reports go out in snake_case and bring the lease back")
  func reports() async throws {
    try server.answer("observations", 200, JSONCoder.encode(LeaseAnswer(leaseSeconds: 20)))
    // A newer control plane says more than this agent knows.
    var newer = try JSONCoder.encode(LeaseAnswer(leaseSeconds: 21))
    newer.replaceSubrange(0..<1, with: Array(#"{"later":1,"#.utf8))
    try server.answer("node", 200, newer)
    let observation = Observation(
      vm: .sample(1), incarnation: 1, generation: 2, sequence: 3, power: .running,
      guestStopped: false)
    #expect(try await link.post(ObservationReport(observations: [observation])).leaseSeconds == 20)
    let body = try JSONValue.parse(server.got("observations").body)
    let decoded = try JSONCoder.decode(ObservationReport.self, from: body)
    #expect(decoded.observations == [observation])
    let node = NodeReport(
      architecture: "x86_64", accelerator: .tcg, vcpus: 1, memoryMib: 2, diskGib: 3,
      facts: ["kernel": "6"])
    #expect(try await link.report(node).leaseSeconds == 21)
    #expect(try server.got("node").line == "PUT /agent/v1/node")
  }

  @Test(
    "a replica that is not there or is unwell is passed over, and the one that answered is asked first from then on"
  )
  func replicas() async throws {
    let unwell = try await HTTPServerProcess.start()
    try unwell.answer("node", 503, Array("{}".utf8))
    try server.answer("node", 200, JSONCoder.encode(LeaseAnswer(leaseSeconds: 20)))
    let link = Self.link(["http://127.0.0.1:1", unwell.url, server.url + "/"])
    let node = NodeReport(
      architecture: "x86_64", accelerator: .tcg, vcpus: 1, memoryMib: 2, diskGib: 3, facts: [:])
    _ = try await link.report(node)
    try FileManager.default.removeItem(atPath: unwell.directory.path + "/got_node")
    _ = try await link.report(node)
    #expect(throws: (any Error).self) { try unwell.got("node") }
  }

  @Test("a refusal is told with the control plane's words and not tried elsewhere")
  func refusal() async throws {
    await #expect {
      _ = try await link.renew(RenewRequest(certificateRequest: "x"))
    } throws: {
      guard let failure = $0 as? AgentFailure else { return false }
      return failure.kind == .controlPlaneRefused && failure.detail.contains("there is no renew")
    }
  }

  @Test("an image comes over the link into the cache; another content, or more of it, is corrupt")
  func image() async throws {
    let content = [UInt8](repeating: 7, count: 300_000)
    var image = Assignment.BaseImage.sample
    image.sizeBytes = content.count
    image.sha256 = SHA256.hash(data: content).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      .joined()
    let directory = try TemporaryDirectory()
    let storage = try await DirectoryStorage.open(directory.path, logger: quietLogger)
    let link = link
    let source: ImageSource = { image, descriptor, onBytes, progress throws(AgentFailure) in
      try await link.download(image, to: descriptor, onBytes: onBytes, progress: progress)
    }
    let name = "images_\(image.id)_content"
    for wrong in [content + [1], Array(content.dropLast()), [8] + content.dropFirst()] {
      try server.answer(name, 200, wrong)
      await #expect { try await storage.local.fetch(image, from: source) { _ in } } throws: {
        ($0 as? AgentFailure)?.kind == .imageCorrupt
      }
    }
    try server.answer(name, 503, [])
    await #expect { try await storage.local.fetch(image, from: source) { _ in } } throws: {
      ($0 as? AgentFailure)?.kind == .imageUnavailable
    }
    try server.answer(name, 200, content)
    try await storage.local.fetch(image, from: source) { _ in }
    #expect(try FileSystem.readAll(directory.path + "/images/" + image.sha256) == content)
  }

  @Test(
    "a stream names its first byte and carries the log from there",
    arguments: [(-4, "6", "6789"), (3, "3", "3456789")])
  func stream(offset: Int, start: String, body: String) async throws {
    let directory = try TemporaryDirectory()
    let storage = try await DirectoryStorage.open(directory.path, logger: quietLogger)
    let path = storage.paths(of: .sample(1)).serialLog
    try FileManager.default.createDirectory(
      atPath: directory.path + "/vms/\(VMID.sample(1))", withIntermediateDirectories: true)
    try Data("0123456789".utf8).write(to: URL(fileURLWithPath: path))
    let stream = StreamRequest(
      id: StreamID(UUID.v7(milliseconds: 3, random: (3, 3))), url: server.url, kind: .serialLog,
      vm: .sample(1),
      offset: offset, follow: false)
    try server.answer("streams_\(stream.id)", 204, [])
    let log = try await storage.serialLog(of: .sample(1))
    try await SerialLogStream(stream: stream, log: log, clock: SystemClock()).send(over: link)
    let got = try server.got("streams_\(stream.id)")
    #expect(got.start == start && String(decoding: got.body, as: UTF8.self) == body)
  }
}
