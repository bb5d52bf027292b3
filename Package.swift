// swift-tools-version: 6.2
import PackageDescription

// Warnings are errors: a warning that may stay is a warning nobody reads.
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let jwt = Target.Dependency.product(name: "JWTKit", package: "jwt-kit")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let foundations: [Target] = [
  .systemLibrary(name: "CLinux"),
  .systemLibrary(name: "CConfinement"),
  .systemLibrary(name: "CSHA256"),
  .systemLibrary(name: "COpenSSL"),
  .systemLibrary(name: "CPostgres"),
  .systemLibrary(name: "CLibvirt"),
  .systemLibrary(name: "CCurl"),
  .systemLibrary(name: "CCeph"),
  .target(name: "Execution", dependencies: ["CLinux"], swiftSettings: strict),
  .target(name: "JSON", exclude: ["README.md"], swiftSettings: strict),
  .target(name: "XMLBuilder", swiftSettings: strict),
  .target(
    name: "HTTP", dependencies: ["Execution", "CLinux", "COpenSSL", logging, httpTypes], exclude: ["README.md"],
    swiftSettings: strict),
  .target(name: "IPAddressing", swiftSettings: strict),
  .target(
    name: "HTTPClient", dependencies: ["CCurl", "Execution", "IPAddressing", logging, httpTypes],
    exclude: ["README.md"],
    swiftSettings: strict),
  .target(
    name: "Postgres", dependencies: ["Execution", "CPostgres", logging], exclude: ["README.md"], swiftSettings: strict),
  .target(
    name: "Libvirt", dependencies: ["CLibvirt", "Execution", "XMLBuilder", logging], exclude: ["README.md"],
    swiftSettings: strict),
  .target(
    name: "OVSDB", dependencies: ["COpenSSL", "Execution", "JSON", logging], exclude: ["README.md"],
    swiftSettings: strict),
  .target(name: "Contract", dependencies: ["JSON", httpTypes, yams], exclude: ["README.md"], swiftSettings: strict),
  .executableTarget(name: "contract-lint", dependencies: ["Contract"], swiftSettings: strict),
  .target(
    name: "DiskImages", dependencies: ["CConfinement", "Execution", "JSON"], exclude: ["README.md"],
    swiftSettings: strict),
  .target(
    name: "ObjectStorage", dependencies: ["CSHA256", "Execution", "HTTPClient", "JSON", logging, httpTypes],
    exclude: ["README.md"], swiftSettings: strict),
  .executableTarget(name: "aloft-inspect", dependencies: ["DiskImages", "JSON"], swiftSettings: strict),
  .target(name: "CephImages", dependencies: ["CCeph", "JSON"], swiftSettings: strict),
  .executableTarget(name: "aloft-rbd", dependencies: ["CephImages"], swiftSettings: strict),
]

let cloud: [Target] = [
  .target(name: "AloftModel", swiftSettings: strict),
  .target(
    name: "Northbound", dependencies: ["AloftModel", "Execution", "IPAddressing", "OVSDB", crypto, logging],
    exclude: ["README.md"], swiftSettings: strict),
  .target(name: "Placement", exclude: ["README.md"], swiftSettings: strict),
  .executableTarget(name: "placement-bench", dependencies: ["Placement"], swiftSettings: strict),
  .target(
    name: "ControlPlane",
    dependencies: [
      "AloftModel", "Contract", "DiskImages", "Execution", "HTTP", "HTTPClient", "IPAddressing", "JSON", "OVSDB",
      "Northbound", "ObjectStorage", "Placement", "Postgres", crypto, cryptoExtras, jwt, x509, asn1, logging, httpTypes,
    ], swiftSettings: strict),
  .target(
    name: "NodeAgent",
    dependencies: [
      "AloftModel", "CLinux", "CephImages", "Execution", "HTTP", "HTTPClient", "IPAddressing", "JSON", "Libvirt",
      "OVSDB", "XMLBuilder", crypto, x509, asn1, logging, httpTypes,
    ], swiftSettings: strict),
  .target(
    name: "SimulatedHypervisor", dependencies: ["AloftModel", "Execution", "NodeAgent", logging], swiftSettings: strict),
  .target(
    name: "AloftCLI",
    dependencies: [
      "AloftModel", "COpenSSL", "Execution", "HTTPClient", "JSON", arguments, logging, httpTypes, yams,
    ], swiftSettings: strict),
  .target(name: "ProgramSettings", dependencies: [arguments, yams], swiftSettings: strict),
  .executableTarget(
    name: "aloftd",
    dependencies: [
      "AloftModel", "Contract", "ControlPlane", "DiskImages", "HTTP", "HTTPClient", "IPAddressing", "ObjectStorage",
      "Postgres", "ProgramSettings", arguments, logging, yams,
    ],
    swiftSettings: strict),
  .executableTarget(
    name: "aloft-agent",
    dependencies: [
      "AloftModel", "Execution", "HTTPClient", "IPAddressing", "NodeAgent", "ProgramSettings", arguments, logging,
    ],
    swiftSettings: strict),
  .executableTarget(name: "aloft", dependencies: ["AloftCLI"], swiftSettings: strict),
  .executableTarget(
    name: "aloft-bench",
    dependencies: [
      "AloftModel", "Contract", "ControlPlane", "DiskImages", "Execution", "HTTP", "HTTPClient", "JSON", "NodeAgent",
      "OVSDB", "Postgres",
      "SimulatedHypervisor",
      arguments, logging, httpTypes,
    ], swiftSettings: strict),
]

let tests: [Target] = [
  .target(name: "TestSupport", dependencies: ["Execution", logging], path: "Tests/TestSupport", swiftSettings: strict),
  .target(
    name: "PostgresTestSupport", dependencies: ["CPostgres", "Execution", "TestSupport"],
    path: "Tests/PostgresTestSupport", swiftSettings: strict),
  .target(
    name: "DiskImageTestSupport", dependencies: ["DiskImages"], path: "Tests/DiskImageTestSupport",
    swiftSettings: strict),
  .target(
    name: "ObjectStorageTestSupport", dependencies: ["Execution", "HTTPClient", "TestSupport", httpTypes],
    path: "Tests/ObjectStorageTestSupport", exclude: ["moto_server.py"], swiftSettings: strict),
  .target(
    name: "OVSDBTestSupport", dependencies: ["Execution", "OVSDB", "TestSupport"], path: "Tests/OVSDBTestSupport",
    swiftSettings: strict),
  .target(
    name: "LibvirtTestSupport", dependencies: ["JSON", "Libvirt", "TestSupport"], path: "Tests/LibvirtTestSupport",
    swiftSettings: strict),
  .target(
    name: "CephTestSupport", dependencies: ["LibvirtTestSupport", "NodeAgent", "TestSupport"],
    path: "Tests/CephTestSupport", swiftSettings: strict),
  .testTarget(name: "JSONTests", dependencies: ["JSON"], swiftSettings: strict),
  .testTarget(
    name: "HTTPTests", dependencies: ["CLinux", "COpenSSL", "Execution", "HTTP", "TestSupport", logging, httpTypes],
    swiftSettings: strict),
  .testTarget(
    name: "HTTPClientTests", dependencies: ["HTTPClient", "IPAddressing", "TestSupport", logging, httpTypes],
    exclude: ["server.py"],
    swiftSettings: strict),
  .testTarget(
    name: "PostgresTests", dependencies: ["Postgres", "PostgresTestSupport", "TestSupport", logging],
    swiftSettings: strict),
  .testTarget(
    name: "LibvirtTests", dependencies: ["Libvirt", "LibvirtTestSupport", "TestSupport", "XMLBuilder", logging],
    swiftSettings: strict),
  .testTarget(
    name: "OVSDBTests", dependencies: ["Execution", "JSON", "OVSDB", "OVSDBTestSupport", "TestSupport", logging],
    swiftSettings: strict),
  .testTarget(
    name: "NorthboundTests",
    dependencies: ["AloftModel", "IPAddressing", "Northbound", "OVSDB", "OVSDBTestSupport", "TestSupport", logging],
    swiftSettings: strict),
  .executableTarget(
    name: "confinement-probe", dependencies: ["CLinux", "DiskImages"], path: "Tests/ConfinementProbe",
    swiftSettings: strict),
  .testTarget(
    name: "DiskImagesTests",
    dependencies: [
      "DiskImageTestSupport", "DiskImages", "Execution", "JSON", "TestSupport", "aloft-inspect", "confinement-probe",
    ],
    swiftSettings: strict),
  .testTarget(
    name: "ObjectStorageTests",
    dependencies: [
      "Execution", "HTTPClient", "JSON", "ObjectStorage", "ObjectStorageTestSupport", "TestSupport", logging, httpTypes,
    ], swiftSettings: strict),
  .testTarget(name: "IPAddressingTests", dependencies: ["IPAddressing"], swiftSettings: strict),
  .testTarget(name: "ContractTests", dependencies: ["Contract", "JSON", httpTypes], swiftSettings: strict),
  .testTarget(name: "PlacementTests", dependencies: ["Placement"], swiftSettings: strict),
  .testTarget(
    name: "ControlPlaneTests",
    dependencies: [
      "AloftModel", "Contract", "ControlPlane", "DiskImageTestSupport", "DiskImages", "Execution", "HTTP", "HTTPClient",
      "IPAddressing", "JSON", "OVSDB", "OVSDBTestSupport", "ObjectStorage",
      "ObjectStorageTestSupport", "Postgres", "PostgresTestSupport",
      "TestSupport", "aloft-inspect", crypto, cryptoExtras, x509, asn1, logging, httpTypes,
    ], swiftSettings: strict),
  .testTarget(
    name: "NodeAgentTests",
    dependencies: [
      "AloftModel", "CephTestSupport", "Execution", "HTTPClient", "IPAddressing", "JSON", "Libvirt",
      "LibvirtTestSupport", "NodeAgent", "OVSDB", "OVSDBTestSupport", "SimulatedHypervisor", "TestSupport", crypto,
      "aloft-rbd", x509, asn1, logging, httpTypes,
    ], exclude: ["control_plane.py"], swiftSettings: strict),
  .testTarget(
    name: "SimulationTests",
    dependencies: [
      "AloftModel", "Contract", "ControlPlane", "DiskImages", "Execution", "HTTP", "JSON", "NodeAgent", "Postgres",
      "PostgresTestSupport", "SimulatedHypervisor", "TestSupport", "aloft-inspect", crypto, x509, asn1, logging,
      httpTypes,
    ], swiftSettings: strict),
  .testTarget(
    name: "AloftCLITests",
    dependencies: [
      "AloftCLI", "AloftModel", "Execution", "HTTPClient", "JSON", "TestSupport", "aloft", arguments, logging,
      httpTypes,
    ],
    resources: [.copy("canned_server.py"), .copy("canned_issuer.py")], swiftSettings: strict),
  .testTarget(
    name: "ProgramTests",
    dependencies: [
      "AloftModel", "ControlPlane", "IPAddressing", "NodeAgent", "ProgramSettings", "aloft-agent", "aloftd", arguments,
      logging,
    ],
    swiftSettings: strict),
  .testTarget(
    name: "EndToEndTests",
    dependencies: [
      "AloftModel", "CephTestSupport", "ControlPlane", "Execution", "HTTP", "HTTPClient", "JSON", "LibvirtTestSupport",
      "NodeAgent", "Postgres", "PostgresTestSupport", "TestSupport",
      "aloft", "aloft-agent", "aloft-inspect", "aloft-rbd", "aloftd", logging, httpTypes,
    ], path: "Tests/EndToEnd", swiftSettings: strict),
  .testTarget(
    name: "LabTests",
    dependencies: ["JSON", "LibvirtTestSupport", "TestSupport", "aloft", "aloft-agent", "aloft-inspect", "aloftd"],
    swiftSettings: strict),
]

let package = Package(
  name: "aloft",
  dependencies: [
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.3.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
  ],
  targets: foundations + cloud + tests
)
