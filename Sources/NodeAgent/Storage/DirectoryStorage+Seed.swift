import AloftModel
import Glibc

extension DirectoryStorage {
  /// A NoCloud seed disk: an ISO 9660 file system labelled `cidata` with `meta-data` and `user-data`.
  public func createSeed(_ seed: Seed) async throws(AgentFailure) {
    let (folder, target, serialLog) = (folder(seed.vm), paths(of: seed.vm).seed, paths(of: seed.vm).serialLog)
    let stage = folder + "/.seed"
    try await thread.run { () throws(AgentFailure) in
      try FileSystem.makeFolder(folder, mode: 0o711)
      try FileSystem.withFile(serialLog, O_WRONLY | O_CREAT) { _ in }
      try FileSystem.delete(stage)
      try FileSystem.makeFolder(stage, mode: 0o700)
      // Whoever finds these after a crash makes them anew.
      for (name, text) in [("meta-data", seed.metaData), ("user-data", seed.userData)] {
        let path = stage + "/" + name
        try FileSystem.withFile(path, O_WRONLY | O_CREAT | O_EXCL) { file throws(AgentFailure) in
          try FileSystem.writeAll(Array(text.utf8), to: file, path)
        }
      }
    }
    try await Tool.run(
      "genisoimage",
      [
        "-quiet", "-volid", "cidata", "-joliet", "-rational-rock", "-output", stage + "/seed.iso",
        stage + "/meta-data", stage + "/user-data",
      ])
    try await thread.run { () throws(AgentFailure) in
      let made = stage + "/seed.iso"
      try FileSystem.withFile(made, O_RDONLY) { file throws(AgentFailure) in
        // It holds the tenant's secrets; libvirt gives it to QEMU's user when the guest starts.
        fchmod(file, 0o600)
        try FileSystem.sync(file, made)
      }
      try FileSystem.move(made, to: target)
      try FileSystem.syncFolder(folder)
      try FileSystem.delete(stage)
    }
  }
}

extension Seed {
  /// cloud-init's meta-data, in YAML.
  var metaData: String {
    var lines = ["instance-id: \(vm)", "local-hostname: \(Self.quoted(hostname))"]
    if !sshKeys.isEmpty { lines.append("public-keys:") }
    lines += sshKeys.map { "- \(Self.quoted($0))" }
    return lines.joined(separator: "\n") + "\n"
  }

  /// A YAML double-quoted scalar (YAML 1.2, 7.3.1).
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f:
        let digits = String(scalar.value, radix: 16)
        result += "\\x" + (digits.count == 1 ? "0" : "") + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
