// swift-tools-version: 5.9

import Foundation
import PackageDescription

// The package for iOS and macOS, whose sources are in ios/. The library comes as an XCFramework: the one
// that scripts/build-xcframework.sh has built in this checkout, else that of the release. On Linux, for
// tests, it is the one that scripts/install.sh installs.
let built = "ios/CAttamba.xcframework"
// Filled in by scripts/release.sh.
let url = "https://github.com/attamba/attamba/releases/download/v0.1.0/CAttamba.xcframework.zip"
let checksum = "0000000000000000000000000000000000000000000000000000000000000000"

#if os(Linux)
let library: Target = .systemLibrary(
    name: "CAttamba",
    path: "ios/Sources/CAttamba",
    pkgConfig: "attamba"
)
#else
let library: Target =
    FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(built)")
    ? .binaryTarget(name: "CAttamba", path: built)
    : .binaryTarget(name: "CAttamba", url: url, checksum: checksum)
#endif

let package = Package(
    name: "Attamba",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Attamba", targets: ["Attamba"])],
    targets: [
        library,
        .target(
            name: "Attamba",
            dependencies: ["CAttamba"],
            path: "ios/Sources/Attamba",
            resources: [.copy("PrivacyInfo.xcprivacy")]
        ),
        .testTarget(
            name: "AttambaTests",
            dependencies: ["Attamba"],
            path: "ios/Tests/AttambaTests"
        ),
    ]
)
