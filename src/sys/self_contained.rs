//! What may live in shared memory: types that mean the same in every process.

use std::{mem, ptr, slice};

/// A type that may live in shared memory: it consists of its own bytes and of nothing else.
///
/// # Safety
/// The type must be valid for every pattern of bits, must have no padding, and must hold nothing
/// that has a meaning in one process only, such as an address.
/// [`self_contained!`](crate::self_contained!) checks all three.
pub unsafe trait SelfContained: Copy + 'static {
    /// The value whose bytes are all zero.
    fn zeroed() -> Self {
        // SAFETY: it is valid for every pattern of bits.
        unsafe { mem::zeroed() }
    }

    /// The bytes of which the value consists.
    fn bytes(&self) -> &[u8] {
        // SAFETY: there is no padding, so all of them are initialised.
        unsafe { slice::from_raw_parts(ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// As [`bytes`](Self::bytes), to write other ones there.
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above. And whatever is written there, the value is valid.
        unsafe { slice::from_raw_parts_mut(ptr::from_mut(self).cast(), size_of::<Self>()) }
    }
}

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
/// Without the name it does not compile. (Neither does a field that holds an address, like the text
/// of the article's message; tests/hygiene.md has more that does not.)
///
/// ```compile_fail,E0080
/// sigshm::self_contained! {
///     struct Reading { sensor: u8, celsius: i32 }
/// }
/// ```
#[macro_export]
macro_rules! self_contained {
    (
        $(#[doc = $doc:expr])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $field_doc:expr])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[repr(C)]
        #[$crate::sys::derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[doc = $field_doc])* $field_visibility $field: $type),+
        }

        const _: () = $crate::sys::ensure_no_padding::<$name>(
            0 $(+ $crate::sys::size_of_field(|$name { $field, .. }: &$name| $field))+
        );

        // SAFETY: the constant above does not compile unless every field is self-contained, which
        // covers bit patterns and addresses, and unless the fields fill the struct, which leaves no
        // padding. It measures the fields themselves, whatever their types are called here; and it
        // calls nothing that the caller could define.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::SelfContained for $name {}
    };
}

/// The size of a field, which must be self-contained: that of what `_field` leads to.
#[doc(hidden)] // For the macro.
pub const fn size_of_field<S, F: SelfContained>(_field: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Does not compile if the fields, which have so many bytes in all, leave some of the struct's out.
#[doc(hidden)] // For the macro.
pub const fn ensure_no_padding<S>(fields: usize) {
    assert!(fields == size_of::<S>(), "padding between fields");
}

#[cfg(doctest)]
#[doc = include_str!("../../tests/hygiene.md")]
struct Hygiene;
