import ArgumentParser
import ControlPlane
import Foundation
import Glibc
import ProgramSettings

/// Where the sealing key comes from.
struct SealingOptions: ParsableArguments {
  @Option(name: PlaneSetting.sealingKeyFile.flag, help: PlaneSetting.sealingKeyFile.help)
  var sealingKeyFile: String?

  /// The key of the file, or of `ALOFT_SEALING_KEY`. Throws when there is none, or two.
  func key(_ source: SettingsReader) throws -> SealingKey {
    let file = try source.text(PlaneSetting.sealingKeyFile, sealingKeyFile)
    let text = try source.text(PlaneSetting.sealingKey, nil)
    switch (file, text) {
    case (let file?, nil): return try SealingKey(file: file)
    case (nil, let text?): return try SealingKey(text, place: PlaneSetting.sealingKey.variable)
    case (nil, nil): throw SealingKey.Failure.missing
    case (_?, _?):
      throw ValidationError(
        "both \(PlaneSetting.sealingKeyFile.variable) and \(PlaneSetting.sealingKey.variable) are set; one is enough")
    }
  }
}

/// Makes sealing keys.
struct SealingKeys: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sealing-key", abstract: "The key that protects secrets in the database.",
    subcommands: [Create.self, Rotate.self, Reseal.self])

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a key in a new file. Keep a copy apart from the database's backups.")

    @Option(help: "The file; it must not be there yet.")
    var out: String

    func run() throws { try PrivateFile.create(SealingKey.generate() + "\n", at: out) }
  }

  struct Rotate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a new key in front of those of a file.",
      discussion: "From its next start on a replica seals with the new key and opens with all of them.")

    @Option(help: "The file.")
    var file: String

    func run() throws {
      // What cannot be used is left as it is.
      _ = try SealingKey(file: file)
      let before = try String(contentsOfFile: file, encoding: .utf8)
      try PrivateFile.replace(SealingKey.generate() + "\n" + before, at: file)
    }
  }
}

/// Files that hold secrets: never readable by others, not even for a moment.
enum PrivateFile {
  /// Makes a file that must not be there.
  static func create(_ text: String, at path: String, mode: mode_t = 0o600) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else {
      throw ValidationError("\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try file.write(contentsOf: Data(text.utf8))
    try file.synchronize()
  }

  /// Replaces a file's content in one step, and keeps its mode.
  static func replace(_ text: String, at path: String) throws {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw ValidationError("\(path) cannot be read: \(String(cString: strerror(errno)))")
    }
    let fresh = path + ".new"
    try? FileManager.default.removeItem(atPath: fresh)
    try create(text, at: fresh, mode: 0o600)
    guard chown(fresh, status.st_uid, status.st_gid) == 0, chmod(fresh, status.st_mode & 0o777) == 0,
      rename(fresh, path) == 0
    else { throw ValidationError("\(path) cannot be replaced: \(String(cString: strerror(errno)))") }
  }
}
