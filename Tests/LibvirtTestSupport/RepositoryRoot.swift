import Foundation

/// The checkout this file belongs to.
public let repositoryRoot: URL = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The path of a program in scripts/.
public func script(_ name: String) -> String { repositoryRoot.appending(path: "scripts/\(name)").path }

/// The folder with the programs of this build.
public let builtPrograms: String =
  Bundle.main.executableURL.map { executable in
    var folder = executable.deletingLastPathComponent()
    // Under `swift test` the executable is the test bundle itself, or the toolchain's helper that loads it.
    while folder.path != "/", !FileManager.default.fileExists(atPath: folder.appending(path: "aloftd").path) {
      folder.deleteLastPathComponent()
    }
    return folder.path == "/" ? repositoryRoot.appending(path: ".build/debug").path : folder.path
  } ?? repositoryRoot.appending(path: ".build/debug").path
