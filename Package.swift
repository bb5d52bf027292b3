// swift-tools-version: 6.2
import PackageDescription

// Warnings are errors: a warning that may stay is a warning nobody reads.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let package = Package(
  name: "aloft",
  dependencies: [
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.3.0"),
  ],
  targets: [
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "COpenSSL"),
    .systemLibrary(name: "CPostgres"),
    .systemLibrary(name: "CLibvirt"),
    .systemLibrary(name: "CCurl"),
    .target(name: "Execution", dependencies: ["CLinux"], swiftSettings: strict),
  ]
)
