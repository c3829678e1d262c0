# The package: find_package(minimind), or pkg-config --static minimind.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/minimind")
set(generated "${PROJECT_BINARY_DIR}/package")

install(TARGETS minimind EXPORT minimindTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT minimindTargets NAMESPACE minimind:: DESTINATION "${package_folder}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/minimind" "${PROJECT_BINARY_DIR}/include/minimind" DESTINATION include
        FILES_MATCHING PATTERN "*.h")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/minimindConfig.cmake.in" "${generated}/minimindConfig.cmake"
                              INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${generated}/minimindConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${generated}/minimindConfig.cmake" "${generated}/minimindConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/MinimindTorch.cmake" "${PROJECT_SOURCE_DIR}/cmake/MinimindLibraries.cmake"
        DESTINATION "${package_folder}")

file(RELATIVE_PATH up_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
list(JOIN MINIMIND_LIBRARIES " " required_modules)
list(JOIN MINIMIND_TORCH_LINK " " torch_link)
configure_file("${PROJECT_SOURCE_DIR}/cmake/minimind.pc.in" "${generated}/minimind.pc" @ONLY)
install(FILES "${generated}/minimind.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
