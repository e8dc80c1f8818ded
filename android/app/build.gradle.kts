plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.attamba.sample"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.attamba.sample"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }

    // The model is mapped directly from the APK.
    androidResources { noCompress += "gguf" }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin { jvmToolchain(17) }

// The project's bundled model, as the asset that the sample opens.
val model by
    tasks.registering(Copy::class) {
        from(rootProject.file("../models")) { include("*.gguf") }
        rename { "model.gguf" }
        into(file("src/main/assets"))
    }

tasks.named("preBuild") { dependsOn(model) }

dependencies {
    implementation(project(":attamba"))
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
}
