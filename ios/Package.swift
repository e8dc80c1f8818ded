// swift-tools-version: 5.9

import PackageDescription

// On Apple platforms the library comes as an XCFramework, built by scripts/build-xcframework.sh. On
// Linux it is the one that scripts/install.sh installs.
#if os(Linux)
let library: Target = .systemLibrary(
    name: "CAttamba",
    path: "Sources/CAttamba",
    pkgConfig: "attamba"
)
#else
let library: Target = .binaryTarget(name: "CAttamba", path: "CAttamba.xcframework")
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
            resources: [.copy("PrivacyInfo.xcprivacy")]
        ),
        .testTarget(name: "AttambaTests", dependencies: ["Attamba"]),
    ]
)
