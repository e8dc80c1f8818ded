buildscript {
    repositories {
        google()
        mavenCentral()
    }
    dependencies {
        // The Android plugin compiles Kotlin itself, with this compiler.
        classpath(libs.kotlin)
    }
}

plugins {
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.android.application) apply false
}
