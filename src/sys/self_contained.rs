//! What may live in shared memory: types that mean the same in every process.

/// A type that may live in shared memory: it consists of its own bytes and of nothing else.
///
/// # Safety
/// The type must be valid for every pattern of bits, must have no padding, and must hold nothing
/// that has a meaning in one process only, such as an address.
/// [`self_contained!`](crate::self_contained!) checks all three.
pub unsafe trait SelfContained: Copy + PartialEq + 'static {}

// SAFETY: integers have no padding, are valid for every pattern of bits, and point nowhere.
unsafe impl SelfContained for u8 {}
// SAFETY: as above.
unsafe impl SelfContained for u32 {}
// SAFETY: as above.
unsafe impl SelfContained for i32 {}
// SAFETY: as above.
unsafe impl SelfContained for usize {}
// SAFETY: an array is its elements side by side, and those are self-contained.
unsafe impl<T: SelfContained, const N: usize> SelfContained for [T; N] {}

/// Declares a `#[repr(C)]` struct that is [`SelfContained`](trait@crate::sys::SelfContained).
///
/// It compiles only if every field is self-contained and no padding lies between them. Where C
/// leaves a gap, give the gap a name:
///
/// ```
/// sigshm::self_contained! {
///     struct Reading { sensor: u8, gap: [u8; 3], celsius: i32 }
/// }
/// ```
///
/// Without the name it does not compile. Neither does a field that holds an address, like the text
/// of the article's message:
///
/// ```compile_fail,E0080
/// sigshm::self_contained! {
///     struct Reading { sensor: u8, celsius: i32 }
/// }
/// ```
///
/// ```compile_fail,E0277
/// sigshm::self_contained! {
///     struct Reading { sensor: u32, gap: [u8; 4], name: *const u8 }
/// }
/// ```
#[macro_export]
macro_rules! self_contained {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $type),+
        }

        const _: () = {
            const fn size_of_self_contained<T: $crate::sys::SelfContained>() -> usize {
                ::core::mem::size_of::<T>()
            }
            let fields = 0 $(+ size_of_self_contained::<$type>())+;
            assert!(fields == ::core::mem::size_of::<$name>(), "there is padding between the fields");
        };

        // SAFETY: the constant above does not compile unless every field is self-contained, which
        // covers bit patterns and addresses, and unless the fields fill the struct, which leaves no
        // padding.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::SelfContained for $name {}
    };
}
