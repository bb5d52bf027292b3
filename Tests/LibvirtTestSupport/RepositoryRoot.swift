import Foundation

/// The checkout this file belongs to.
public let repositoryRoot: URL = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

/// The path of a program in scripts/.
public func script(_ name: String) -> String { repositoryRoot.appending(path: "scripts/\(name)").path }
