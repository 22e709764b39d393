//! A catalogue of words: an enum, and one text of each in every language.

use super::Language;

/// Makes an enum of words with their texts, English and Russian, beside each other.
///
/// A text may hold `{}` once, for `with` to fill; both languages hold it or neither does (held
/// by a test).
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($word:ident: $english:literal, $russian:literal;)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter)]
        pub(super) enum $name {
            $($word,)+
        }

        impl $crate::domain::messages::words::Catalogue for $name {
            fn text(self, language: $crate::domain::messages::Language) -> &'static str {
                use $crate::domain::messages::Language::{English, Russian};
                match (self, language) {
                    $(
                        (Self::$word, English) => $english,
                        (Self::$word, Russian) => $russian,
                    )+
                }
            }
        }
    };
}

pub(super) use words;

/// What every catalogue of words can do.
pub(super) trait Catalogue: Copy {
    /// The text in a language.
    fn text(self, language: Language) -> &'static str;

    /// The text with its one place filled.
    fn with(self, language: Language, value: &str) -> String {
        self.text(language).replacen("{}", value, 1)
    }
}
