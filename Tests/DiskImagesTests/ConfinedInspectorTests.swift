import DiskImageTestSupport
import Execution
import Foundation
import TestSupport
import Testing

@testable import DiskImages

/// The folder with the programs of this build.
private let programs: String = {
  var folder = Bundle.main.executableURL?.deletingLastPathComponent() ?? URL(fileURLWithPath: "/")
  while folder.path != "/", !FileManager.default.fileExists(atPath: folder.appending(path: "aloft-inspect").path) {
    folder.deleteLastPathComponent()
  }
  return folder.path == "/" ? ".build/debug" : folder.path
}()

/// A folder that is gone with the object.
final class Folder: Sendable {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appending(path: "aloft-images-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = path + "/" + name
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  /// A program of the shell. Another program copies it: a file that this one had open for writing cannot be executed
  /// (ETXTBSY) while a child that a test beside it has just forked still holds the descriptor.
  func program(_ text: String) async throws -> String {
    let draft = try file("draft-\(UUID().uuidString)", Array("#!/bin/sh\n\(text)\n".utf8))
    let path = path + "/program-\(UUID().uuidString)"
    _ = try await run("install", "-m", "755", draft, path)
    return path
  }
}

let inspector = ConfinedInspector(program: programs + "/aloft-inspect")

/// What the inspector may have resident: its budget, and what an empty run of the same program has.
private let residentLimit: UInt64 = 64 << 20

@Suite("Confined inspection")
struct ConfinedInspectorTests {
  @Test("refuses every hostile image like the rule itself, and its resident memory stays below 64 MiB")
  func hostileImages() async throws {
    let folder = try Folder()
    #expect(HostileImage.all.count >= 20)
    for image in HostileImage.all {
      let inspection = try await inspector.inspect(path: try folder.file("image", image.bytes))
      guard case .failure(let refusal) = inspection.verdict else {
        Issue.record("\(image.name) was accepted")
        continue
      }
      #expect(refusal.code == image.code, "\(image.name): \(refusal)")
      #expect(inspection.peakResidentBytes > 0)
      #expect(inspection.peakResidentBytes < residentLimit, "\(image.name)")
    }
  }

  @Test("files of as many clusters as allowed are looked at, with one more refused", arguments: [9, 12, 16])
  func sparse(clusterBits: Int) async throws {
    let folder = try Folder()
    let image = QCOW2Bytes(clusterBits: clusterBits, virtualSize: UInt64(8) << UInt64(clusterBits), dataClusters: 0)
    let path = try folder.file("image", image.bytes)
    try #require(truncate(path, off_t(1) << off_t(24 + clusterBits)) == 0)
    let inspection = try await inspector.inspect(path: path)
    #expect(try inspection.verdict.get().virtualSize == 8 << UInt64(clusterBits))
    try #require(truncate(path, off_t(1) << off_t(24 + clusterBits) + 1) == 0)
    guard case .failure(let refusal) = try await inspector.inspect(path: path).verdict else {
      Issue.record("more clusters than allowed were accepted")
      return
    }
    #expect(refusal.code == .tooManyClusters)
  }

  @Test("an image that makes the inspection remember as much as it can stays below 64 MiB")
  func largestMap() async throws {
    let folder = try Folder()
    // 1 TiB of file with a used cluster in each 4096: 512 refcount blocks, each for 32 768 clusters.
    var image = QCOW2Bytes(virtualSize: 512 << 20, dataClusters: 0)
    for block in 1..<512 {
      image.put(UInt64(4 + block) << 16, at: image.refcountTable + 8 * block, width: 8)
      image.count(4 + block)
    }
    for page in 1..<4096 { image.map(page, to: UInt64(page) << 28 | QCOW2Bytes.copied) }
    for page in 1..<8 { image.count(4096 * page) }
    let path = try folder.file("image", image.bytes)
    let file = open(path, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    for page in 8..<4096 {
      var one: UInt8 = 1
      try #require(pwrite(file, &one, 1, off_t(4 + page / 8) << 16 + off_t(page % 8 * 4096 * 2 + 1)) == 1)
    }
    try #require(ftruncate(file, 1 << 40) == 0)
    let inspection = try await inspector.inspect(path: path)
    #expect(try inspection.verdict.get().allocatedClusters == 4095)
    #expect(inspection.peakResidentBytes > 32 << 20)
    #expect(inspection.peakResidentBytes < residentLimit)
    // With less memory than that it dies, and says so.
    let poor = ConfinedInspector(program: programs + "/aloft-inspect", budget: .init(memoryBytes: 16 << 20))
    let failure = await #expect(throws: InspectionFailure.self) { try await poor.inspect(path: path) }
    guard case .died = failure else {
      Issue.record("\(String(describing: failure))")
      return
    }
  }

  @Test("what holds is said: limits always, the filter of system calls where the kernel has one")
  func measures() async throws {
    let folder = try Folder()
    let inspection = try await inspector.inspect(path: try folder.file("image", QCOW2Bytes().bytes))
    #expect(inspection.measures.isSuperset(of: [.limits, .noNewPrivileges]))
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    #expect(inspection.measures.contains(.systemCallFilter) == status.contains("Seccomp:"))
  }

  @Test("a descriptor that can write and stands in the middle of the file will do")
  func descriptor() async throws {
    let folder = try Folder()
    let file = open(try folder.file("image", QCOW2Bytes().bytes), O_RDWR | O_CLOEXEC)
    defer { close(file) }
    lseek(file, 1000, SEEK_SET)
    #expect(try await inspector.inspect(descriptor: file).verdict.get().format == .qcow2)
    #expect(lseek(file, 0, SEEK_CUR) == 1000)
  }

  @Test("what is no ordinary file is not opened: pipes, devices, links, nothing")
  func noFiles() async throws {
    let folder = try Folder()
    let image = try folder.file("image", QCOW2Bytes().bytes)
    try FileManager.default.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: image)
    #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
    await #expect(throws: InspectionFailure.cannotOpen(errno: ELOOP)) {
      try await inspector.inspect(path: folder.path + "/link")
    }
    await #expect(throws: InspectionFailure.cannotOpen(errno: ENOENT)) {
      try await inspector.inspect(path: folder.path + "/no")
    }
    for path in [folder.path, folder.path + "/pipe", "/dev/null"] {
      await #expect(throws: InspectionFailure.notAFile) { try await inspector.inspect(path: path) }
    }
  }

  @Test("programs that are absent, mute, endless or talk nonsense have an error each, and are gone")
  func otherPrograms() async throws {
    let folder = try Folder()
    let image = try folder.file("image", QCOW2Bytes().bytes)
    func program(_ text: String, wallClock: Duration = .seconds(60)) async throws -> ConfinedInspector {
      ConfinedInspector(program: try await folder.program(text), budget: .init(wallClock: wallClock))
    }
    let absent = ConfinedInspector(program: folder.path + "/absent")
    await #expect(throws: InspectionFailure.cannotStart(errno: ENOENT)) { try await absent.inspect(path: image) }
    let mute = try await program("exit 7")
    await #expect(throws: InspectionFailure.noAnswer(status: 7)) { try await mute.inspect(path: image) }
    let nonsense = try await program("echo '{\"measures\": []}'")
    await #expect(throws: InspectionFailure.noAnswer(status: 0)) { try await nonsense.inspect(path: image) }
    let talkative = try await program("exec yes")
    await #expect(throws: InspectionFailure.noAnswer(status: -1)) { try await talkative.inspect(path: image) }
    let dead = try await program("kill -SEGV $$")
    await #expect(throws: InspectionFailure.died(signal: SIGSEGV)) { try await dead.inspect(path: image) }
    let endless = try await program("echo $$ >\(folder.path)/pid; exec sleep 1000", wallClock: .seconds(3))
    await #expect(throws: InspectionFailure.outOfTime) { try await endless.inspect(path: image) }
    let text = try String(contentsOfFile: folder.path + "/pid", encoding: .utf8)
    #expect(!processRuns(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 1))
  }

  @Test("a cancelled inspection ends at once")
  func cancelled() async throws {
    let folder = try Folder()
    let image = try folder.file("image", QCOW2Bytes().bytes)
    let path = try await folder.program("echo $$ >\(folder.path)/pid\nexec sleep 1000")
    let task = Task { try await ConfinedInspector(program: path).inspect(path: image) }
    try await eventually("it runs") { FileManager.default.fileExists(atPath: folder.path + "/pid") }
    task.cancel()
    await #expect(throws: InspectionFailure.cancelled) { try await task.value }
  }

  @Test(
    "a confined process can do nothing else", arguments: ["open", "socket", "fork", "write", "memory", "cpu"])
  func confinement(deed: String) async throws {
    let folder = try Folder()
    let file = try folder.file("file", [0])
    func attempt(_ deed: String) async throws -> Int32 {
      let pid = try spawn([programs + "/confinement-probe", deed, file])
      return await DedicatedThread(name: "probe").run { reap(pid) }
    }
    #expect(try await attempt("nothing") == 0)
    let status = try await attempt(deed)
    // Refused, killed for the call (SIGSYS), for the file's size (SIGXFSZ), or for the time (SIGXCPU).
    #expect([1, 128 + SIGSYS, 128 + SIGXFSZ, 128 + SIGXCPU].contains(status), "\(deed): \(status)")
  }
}
