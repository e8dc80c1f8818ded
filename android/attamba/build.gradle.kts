import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.library)
    `maven-publish`
}

// That of the native library.
val release = Regex("""version = "(.+)"""").find(rootProject.file("../Cargo.toml").readText())!!
version = release.groupValues[1]
group = "org.attamba"

android {
    namespace = "org.attamba"
    compileSdk = libs.versions.compileSdk.get().toInt()
    ndkVersion = libs.versions.ndk.get()

    defaultConfig {
        minSdk = libs.versions.minSdk.get().toInt()
        consumerProguardFiles("consumer-rules.pro")
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        externalNativeBuild { cmake { arguments += "-DANDROID_STL=none" } }
    }

    // The shim. libattamba.so is imported by it, and packaged because of that: it must not be in jniLibs
    // as well. scripts/build-android.sh puts it into src/main/native.
    externalNativeBuild {
        cmake {
            path = file("src/main/cpp/CMakeLists.txt")
            version = libs.versions.cmake.get()
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    publishing {
        singleVariant("release") {
            withSourcesJar()
            withJavadocJar()
        }
    }
}

// Any JDK from 17 on compiles it.
kotlin {
    explicitApi()
    compilerOptions { jvmTarget = JvmTarget.JVM_17 }
}

// The header and the library for apps whose own code is C or C++ (`buildFeatures { prefab = true }`).
tasks.withType<Zip>().configureEach {
    if (name == "bundleReleaseAar") {
        from("src/main/prefab") { into("prefab") }
    }
}

publishing {
    publications {
        register<MavenPublication>("release") {
            artifactId = "attamba"
            afterEvaluate { from(components["release"]) }
            pom {
                name = "attamba"
                description = "On-device inference for language models in fixed memory"
                url = "https://github.com/attamba/attamba"
                licenses {
                    license {
                        name = "MIT"
                        url = "https://opensource.org/license/mit"
                    }
                    license {
                        name = "Apache-2.0"
                        url = "https://www.apache.org/licenses/LICENSE-2.0"
                    }
                }
                developers { developer { name = "The attamba authors" } }
                scm { url = "https://github.com/attamba/attamba" }
            }
        }
    }
    // What scripts/release.sh collects.
    repositories { maven(rootProject.layout.buildDirectory.dir("maven")) { name = "folder" } }
}

dependencies { api(libs.coroutines) }
