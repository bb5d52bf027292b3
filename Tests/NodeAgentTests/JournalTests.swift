import AloftModel
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Journal")
struct JournalTests {
  let directory: TemporaryDirectory
  let path: String
  let vm = VMID.sample(1)
  let request = Assignment.Request.sample(1).id

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.path + "/journal.jsonl"
  }

  @Test("what was appended is known to the next process")
  func durability() async throws {
    let first = try await FileJournal.open(path)
    try await first.append(.requestBegun(vm, request, at: 5))
    try await first.append(.stopAsked(vm, VMJournal.Stop(incarnation: 2, askedAt: 7)))
    try await first.append(.stopAsked(.sample(2), VMJournal.Stop(incarnation: 1, askedAt: 8)))
    try await first.append(.vmForgotten(.sample(2)))
    let second = try await FileJournal.open(path)
    #expect(
      await second.view(of: vm)
        == VMJournal(requests: [request], stop: VMJournal.Stop(incarnation: 2, askedAt: 7)))
    #expect(await second.view(of: .sample(2)).isEmpty)
  }

  @Test(
    "on a disk that is full there is still room for what stopping guests needs",
    .enabled("this process may not mount file systems") { await TemporaryFileSystem.isPermitted() })
  func fullDisk() async throws {
    let disk = try await TemporaryFileSystem(at: directory.path + "/disk", mebibytes: 2)
    let path = disk.path + "/journal.jsonl"
    // New, written anew, and found again: the reserve is there each time.
    for life in 1...2 {
      let journal = try await FileJournal.open(path)
      try disk.fill()
      for number in 0..<200 {
        try await journal.append(.stopAsked(.sample(number), VMJournal.Stop(incarnation: life, askedAt: number)))
      }
      disk.free()
    }
    #expect(try await FileJournal.open(path).view(of: .sample(199)).stop?.incarnation == 2)
    try await disk.unmount()
  }

  @Test("a line that a crash cut off is dropped, and what follows is not glued to it")
  func cutOff() async throws {
    try await FileJournal.open(path).append(.requestBegun(vm, request, at: 5))
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    let line = whole.count
    for length in 0..<line {
      try (whole + whole.prefix(length)).write(to: URL(fileURLWithPath: path))
      let journal = try await FileJournal.open(path)
      #expect(await journal.view(of: vm).requests == [request], "cut after \(length) bytes")
      let other = Assignment.Request.sample(2).id
      try await journal.append(.requestDone(vm, other, at: 6))
      #expect(try await FileJournal.open(path).view(of: vm).requests == [request, other])
    }
  }

  @Test("damage before the end is refused with the line's number")
  func damage() async throws {
    try Data("{\"kind\":\"nonsense\"}\n{}\n".utf8).write(to: URL(fileURLWithPath: path))
    await #expect(throws: AgentFailure.self) { try await FileJournal.open(path) }
  }

  @Test(
    "an append that fails leaves no effect, and the journal goes on when it can be written again")
  func failure() async throws {
    let journal = try await FileJournal.open(path)
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    await #expect(throws: AgentFailure.self) {
      try await journal.append(.requestBegun(vm, request, at: 1))
    }
    #expect(await journal.view(of: vm).isEmpty)
    try FileManager.default.removeItem(atPath: path)
    try await journal.append(.requestBegun(vm, request, at: 1))
    #expect(try await FileJournal.open(path).view(of: vm).requests == [request])
  }

  @Test("compaction drops old requests that no document lists, and nothing else")
  func compaction() async throws {
    let journal = try await FileJournal.open(path)
    let (listed, old, young) = (
      Assignment.Request.sample(1).id, Assignment.Request.sample(2).id,
      Assignment.Request.sample(3).id
    )
    for (id, at) in [(listed, 1), (old, 1), (young, 100)] {
      try await journal.append(.requestDone(vm, id, at: at))
    }
    try await journal.compact(keeping: [listed], before: 50)
    #expect(await journal.view(of: vm).requests == [listed, young])
  }
}
